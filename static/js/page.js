// On every page: opens and closes dialogs, remembers open panels, focuses the first error of a form, and reports htmx
// requests that failed. Without this script dialogs are separate pages and panels open by a click; htmx does not run
// either.

import { show } from "./dialog.js";
import { pointAt } from "./sight.js";

// data-opens="id-of-a-dialog" on a button or a link that leads to a page with the same content; on another button,
// which is hidden until this script runs. data-closes inside the dialog.
for (const opener of document.querySelectorAll("[data-opens]")) opener.hidden = false;

document.addEventListener("click", (event) => {
  const dialog = document.getElementById(event.target.closest("[data-opens]")?.dataset.opens);
  const open = event.target.closest("[data-closes]")?.closest("dialog[open]");
  if (dialog || open) event.preventDefault();
  if (dialog) show(dialog);
  open?.close();
  // A click on the backdrop has the dialog as its target, outside its box. The second click of a double click was meant
  // for the button that opened the dialog.
  const backdrop = event.target instanceof HTMLDialogElement && outside(event, event.target);
  if (backdrop && event.detail < 2) event.target.close();
});

function outside({ clientX: x, clientY: y }, element) {
  const box = element.getBoundingClientRect();
  return (x || y) && (x < box.left || x > box.right || y < box.top || y > box.bottom);
}

// <details data-remember="guideline" data-remember-from="64rem">: open on windows of this width, and later as the person
// left it.
for (const panel of document.querySelectorAll("details[data-remember]")) {
  const key = `annotate:panel:${panel.dataset.remember}`;
  const left = read(key);
  panel.open = left === null ? matchMedia(`(min-width: ${panel.dataset.rememberFrom ?? "64rem"})`).matches : left === "open";
  panel.querySelector("summary").addEventListener("click", () => write(key, panel.open ? "closed" : "open"));
}

function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is off or full: the panel opens as usual next time.
  }
}

// The first error of a refused form may be far below, where nobody sees it.
const fault = document.querySelector("main .errorlist:not([hidden])");
const faulty =
  document.querySelector("main :is(input, select, textarea)[aria-invalid=true]") ??
  fault?.closest(".field")?.querySelector("input, select, textarea") ??
  fault?.closest("[data-answer]")?.querySelector("textarea");
if (faulty) pointAt(faulty);
else fault?.scrollIntoView({ block: "center" });

// Reports failed htmx requests, also to screen readers.
const toasts = document.getElementById("toasts");

function toast(text) {
  if ([...toasts.children].some((one) => one.firstChild.textContent === text)) return;
  const line = document.createElement("div");
  const words = document.createElement("span");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "quiet small";
  close.textContent = toasts.dataset.textClose;
  close.addEventListener("click", () => line.remove());
  line.append(words, close);
  toasts.append(line);
}

document.addEventListener("htmx:responseError", (event) =>
  toast(event.detail.xhr.status >= 500 ? toasts.dataset.textFailed : toasts.dataset.textRefused),
);
document.addEventListener("htmx:sendError", () => toast(toasts.dataset.textOffline));
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) toasts.replaceChildren();
});
