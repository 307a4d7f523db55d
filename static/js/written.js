// Shows all texts of a page as they were written, or all rendered. Without this script each text has both, one below the other.
//
//   .prose + details.written   a text, and the same as written: its summary switches all texts, as the key v does. The choice
//                              is kept for this person in this browser

import { person, read, write } from "./storage.js";

const KEY = `annotate:written:${person()}`;
const TEXTS = ".prose + details.written";

let on = read(KEY) === true;

function apply(root) {
  document.documentElement.toggleAttribute("data-as-written", on);
  for (const text of root.querySelectorAll(TEXTS)) text.open = on;
}

function offerKey() {
  const summary = document.querySelector(`${TEXTS} > summary`);
  if (!summary) return;
  summary.dataset.key = "v";
  summary.dataset.keyLabel = summary.firstChild.textContent.trim();
}

document.addEventListener("click", (event) => {
  const summary = event.target.closest?.(`${TEXTS} > summary`);
  if (!summary) return;
  event.preventDefault();
  // The texts change their heights. What was clicked, or the line that is being read, stays in its place.
  const keep = event.detail || document.activeElement === summary ? () => topOf(summary) : readLine();
  const before = keep();
  on = !on;
  write(KEY, on);
  apply(document);
  scrollBy({ top: keep() - before, behavior: "instant" });
});

const topOf = (element) => element.getBoundingClientRect().top;

/** A function that returns where the part of a text is that now stands at a third of the window's height. */
function readLine() {
  const third = innerHeight / 3;
  const texts = [...document.querySelectorAll(TEXTS)];
  const shown = (text) => (on ? text : text.previousElementSibling);
  const read = texts.find((text) => shown(text).getBoundingClientRect().bottom > third) ?? texts.at(-1);
  const box = shown(read).getBoundingClientRect();
  const part = Math.min(1, Math.max(0, (third - box.top) / box.height));
  return () => {
    const now = shown(read).getBoundingClientRect();
    return now.top + part * now.height;
  };
}

window.addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  on = read(KEY) === true;
  apply(document);
});

apply(document);
offerKey();
document.addEventListener("htmx:load", (event) => apply(event.detail.elt));
document.addEventListener("rendered", (event) => apply(event.target));
