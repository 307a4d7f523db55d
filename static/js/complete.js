// Checks a form before it is sent: focuses the first incomplete field, and names all of them in the action bar. Without
// this script the browser checks required fields, and the server names the errors.
//
//   form[data-complete]   a form to check; other modules call `watch` for theirs
//   [data-incomplete]     in the action bar, with data-text="... {names} ..."
//   [data-one-needed]     around checkboxes of which at least one must be checked (HTML has no attribute for that); its
//                         legend names them

import { filled } from "./http.js";
import { pointAt } from "./sight.js";

for (const form of document.querySelectorAll("form[data-complete]")) {
  watch(form, { reveal: (fields) => fields.forEach(mark) });
}

/**
 * @param {object} how
 *   words(fields): the message in the action bar; by default the names of the fields
 *   reveal(fields): makes the fields visible before the first one gets the focus
 *   shown(field): the element that must be visible with it
 * @returns {() => boolean} focuses the first incomplete field; true if the form is complete
 */
export function watch(form, { words, reveal, shown = (field) => field }) {
  const line = form.querySelector("[data-incomplete]");
  let told = false;

  const missing = () => [...form.elements].filter((field) => field.willValidate && (!field.validity.valid || noneOf(field)));

  function tell(fields) {
    if (!line) return;
    const listed = () => filled(line.dataset.text, { names: names(fields) }).replace("?.", "?"); // a name may end in a question mark
    line.textContent = fields.length ? (words?.(fields) ?? listed()) : "";
    line.hidden = !fields.length;
  }

  function check() {
    const fields = missing();
    told = true;
    tell(fields);
    if (!fields.length) return true;
    reveal(fields);
    fields[0].dispatchEvent(new Event("wanted"));
    pointAt(fields[0], shown(fields[0]));
    return false;
  }

  // The browser's own bubble may be hidden below a bar.
  form.noValidate = true;
  // Before other listeners, which must not see the submit of an incomplete form.
  window.addEventListener(
    "submit",
    (event) => {
      if (event.target !== form || event.submitter?.formNoValidate || check()) return;
      event.preventDefault();
      event.stopImmediatePropagation();
    },
    true,
  );
  for (const name of ["input", "change"]) form.addEventListener(name, () => told && tell(missing()));
  return check;
}

/** Whether it is the first of several checkboxes, of which one is required and none is checked. */
function noneOf(field) {
  const boxes = field.closest("[data-one-needed]")?.querySelectorAll("[type=checkbox]");
  return boxes?.[0] === field && ![...boxes].some((box) => box.checked);
}

function names(fields) {
  const named = (field) => field.closest("[data-one-needed]")?.querySelector("legend") ?? field.labels[0];
  const each = fields.map((field) => named(field)?.textContent.trim().replace(/\s+/g, " ") ?? field.name);
  return new Intl.ListFormat(document.documentElement.lang, { type: "conjunction" }).format(new Set(each));
}

function mark(field) {
  field.setAttribute("aria-invalid", "true");
  const whole = field.closest("[data-one-needed]") ?? field;
  whole.addEventListener("input", () => field.removeAttribute("aria-invalid"), { once: true });
}
