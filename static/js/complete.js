// An incomplete form is not sent: the first field that is missing gets the focus, in sight, and the action bar says what
// is missing until it is there. Without it the browser points at a required field, and the server names the faults.
//
//   form[data-complete]   a form that is checked like this; other modules call `watch` for theirs
//   [data-incomplete]     in the action bar, with data-text="... {names} ..."
//   [data-one-needed]     around checkboxes of which at least one must be checked; its legend is their name. HTML has no
//                         attribute for that

import { filled } from "./http.js";
import { pointAt } from "./sight.js";

for (const form of document.querySelectorAll("form[data-complete]")) {
  watch(form, { reveal: (fields) => fields.forEach(mark) });
}

/**
 * @param {object} how
 *   words(fields): what the action bar says; the names of the fields, where it is left out
 *   reveal(fields): makes them visible before the first one gets the focus
 *   shown(field): what has to be in sight with it
 * @returns {() => boolean} points at what is missing; true if nothing is
 */
export function watch(form, { words, reveal, shown = (field) => field }) {
  const line = form.querySelector("[data-incomplete]");
  let told = false;

  const missing = () => [...form.elements].filter((field) => field.willValidate && (!field.validity.valid || noneOf(field)));

  function tell(fields) {
    if (!line) return;
    const listed = () => filled(line.dataset.text, { names: names(fields) }).replace("?.", "?"); // a name may be a question
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

  // The browser would show a bubble at the first field, also where a bar covers it.
  form.noValidate = true;
  // Before all other listeners: for them a form that is not sent has not been submitted.
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

/** Is it the first of several checkboxes of which none is checked, though one is needed? */
function noneOf(field) {
  const boxes = field.closest("[data-one-needed]")?.querySelectorAll("[type=checkbox]");
  return boxes?.[0] === field && ![...boxes].some((box) => box.checked);
}

function names(fields) {
  const named = (field) => field.closest("[data-one-needed]")?.querySelector("legend") ?? field.labels[0];
  const each = fields.map((field) => named(field)?.textContent.trim() ?? field.name);
  return new Intl.ListFormat(document.documentElement.lang, { type: "conjunction" }).format(new Set(each));
}

function mark(field) {
  field.setAttribute("aria-invalid", "true");
  const whole = field.closest("[data-one-needed]") ?? field;
  whole.addEventListener("input", () => field.removeAttribute("aria-invalid"), { once: true });
}
