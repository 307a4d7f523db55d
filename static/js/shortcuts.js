// Keyboard shortcuts. Without this script every action is a button, a link or a field.
//
//   form[data-submit-shortcut]   Ctrl+Enter or Cmd+Enter submits it, from anywhere on the page
//   [data-key="x"]               the key x clicks this element, or focuses it if it is a field, while nobody types. The
//                                key help lists it. A field first gets a "wanted" event, to become visible. Do not use
//                                it for what submits a form or leads to another page where people write: they may type
//                                on after the focus has left their field
//   template[data-key-help]      dt and dd elements for the key help: keys that another module handles
//   #key-help                    opened by ?

import { show } from "./dialog.js";

const dialog = document.getElementById("key-help");
const OFF = "annotate:keys-off";
const FIELDS = "main :is(textarea, [contenteditable], input:is([type=text], [type=search], [type=email], [type=url]))";
// While an answer is being sent (submit.js), people already type the next one: ignore their keys.
const BUSY = "dialog[open], [data-answer][inert]";
const ACTS = "a, button:not([type=button]), [type=submit]";

if (document.querySelector(`${FIELDS}:not([readonly])`)) {
  for (const element of document.querySelectorAll("[data-key]")) {
    if (element.matches(ACTS)) element.removeAttribute("data-key");
  }
}
for (const element of document.querySelectorAll("[data-key]")) {
  element.setAttribute("aria-keyshortcuts", element.dataset.key);
  list(row(element.dataset.key, element.dataset.keyLabel ?? element.getAttribute("aria-label") ?? words(element)));
}
for (const template of document.querySelectorAll("template[data-key-help]")) list(template.content.cloneNode(true));
if (document.querySelector("form[data-submit-shortcut]")) {
  list(dialog.querySelector("[data-key-submit]").content.cloneNode(true));
}

function list(rows) {
  dialog.querySelector("[data-key-list]").append(rows);
}

function row(key, label) {
  const fragment = document.createDocumentFragment();
  const [dt, kbd, dd] = ["dt", "kbd", "dd"].map((name) => document.createElement(name));
  kbd.textContent = key;
  dd.textContent = label;
  dt.append(kbd);
  fragment.append(dt, dd);
  return fragment;
}

function words(element) {
  const copy = element.cloneNode(true);
  for (const hint of copy.querySelectorAll("kbd")) hint.remove();
  return copy.textContent.trim().replace(/\s+/g, " ");
}

// Single keys can be switched off, because speech input and unsteady hands press them by accident (WCAG 2.1.4). Other
// modules check the attribute on the body.
const toggle = dialog.querySelector("[data-keys-off]");
try {
  toggle.checked = localStorage.getItem(OFF) === "yes";
} catch {
  // Storage is off: the choice applies to this page only.
}
const mark = () => document.body.toggleAttribute("data-keys-off", toggle.checked);
mark();
toggle.addEventListener("change", () => {
  mark();
  try {
    localStorage.setItem(OFF, toggle.checked ? "yes" : "no");
  } catch {
    // As above.
  }
});

function typing(element) {
  if (element.closest("textarea, select, [contenteditable]")) return true;
  return element.matches("input") && !["radio", "checkbox", "button", "submit"].includes(element.type);
}

document.addEventListener("keydown", (event) => {
  // 229: the key belongs to an input method. Safari reports the end of a composition before its last key.
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey) {
    if (!event.repeat) submit(event);
    return;
  }
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing(event.target) || document.body.hasAttribute("data-keys-off") || document.querySelector(BUSY)) return;
  if (event.key === "?") {
    event.preventDefault();
    show(dialog);
    return;
  }
  const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (target && !target.disabled) {
    event.preventDefault();
    if (target.matches("textarea, select")) {
      target.dispatchEvent(new Event("wanted"));
      target.focus();
    } else target.click();
  }
});

function submit(event) {
  const form = event.target.form ?? event.target.closest("form") ?? null;
  const wanted = form?.matches("[data-submit-shortcut]") ? form : document.querySelector("form[data-submit-shortcut]");
  // In another form (a skip reason, a search) the key is that form's.
  if (!wanted || (form && form !== wanted) || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  // Clicks the form's main button: the one without a name and without an address of its own.
  wanted.requestSubmit(wanted.querySelector("[type=submit]:not([formaction], [name])") ?? undefined);
}
