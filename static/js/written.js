// Shows all texts of a page as they were written, or all rendered. Without this script each text has both, one below the other.
//
//   details.written   a text as written, after the rendered one or in the header of its candidate, from where it moves to the
//                     candidate's .reading, above the rating. Its summary switches all texts, as the key v does. The choice
//                     is kept for this person in this browser

import { person, read, write } from "./storage.js";

const KEY = `annotate:written:${person()}`;
const TEXTS = "details.written";

let on = read(KEY) === true;

function apply(root) {
  document.documentElement.toggleAttribute("data-as-written", on);
  for (const details of root.querySelectorAll(TEXTS)) {
    details.open = on;
    const text = details.querySelector(":scope > .as-written");
    if (text) details.closest(".candidate")?.querySelector(".reading")?.prepend(text);
  }
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
  const box = (details) => shownText(details).getBoundingClientRect();
  const texts = [...document.querySelectorAll(TEXTS)];
  const read = texts.find((details) => box(details).bottom > third) ?? texts.at(-1);
  const part = Math.min(1, Math.max(0, (third - box(read).top) / box(read).height));
  return () => box(read).top + part * box(read).height;
}

function shownText(details) {
  const reading = details.closest(".candidate")?.querySelector(".reading");
  if (reading) return reading.querySelector(on ? ":scope > .as-written" : ":scope > .prose") ?? reading;
  return on ? details : details.previousElementSibling;
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
