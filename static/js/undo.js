// Says on the next page that an answer has been handed in, and offers to take it back. Without it a message says so, and
// the answer's own page has the button.
//
//   form[data-undo]       hidden until there is something to say
//   [data-undo-back]      its button, where the answer can be taken back

const KEY = "annotate:submitted";

/** Keeps for the next page of this tab what the server said to a submit. */
export function remember({ undo }) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ undo: undo ?? null }));
  } catch {
    // Storage is switched off: the answers' list has it.
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
