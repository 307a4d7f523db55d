// Confirms a submit on the next page, with a button to undo it. Without this script a message confirms it, and the
// answer's own page has the button.
//
//   form[data-undo]       hidden until there is a submit to confirm
//   [data-undo-back]      its button; removed if the submit cannot be undone

const KEY = "annotate:submitted";

/** Stores the server's response to a submit for the next page of this tab. */
export function remember({ undo }) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ undo: undo ?? null }));
  } catch {
    // Storage is off: the list of answers shows the submit.
  }
}

function submitted() {
  try {
    const said = JSON.parse(sessionStorage.getItem(KEY));
    sessionStorage.removeItem(KEY);
    return said;
  } catch {
    return null;
  }
}

function show(form) {
  const said = form && submitted();
  if (!said) return;
  form.hidden = false;
  const button = form.querySelector("[data-undo-back]");
  if (!said.undo) {
    button.remove();
    return;
  }
  form.action = said.undo;
}

show(document.querySelector("form[data-undo]"));
