// Gives fenced blocks of code the colours of their language, and a bar of buttons. Without this script a block is plain and
// scrolls sideways.
//
//   .prose pre.fenced            > small: the words after the fence, the language first; > code: the code
//   template[data-code-tools]    the bar
//   [data-code=wrap|numbers]     its switches, for all blocks of this browser. Numbers only fit lines that are not wrapped.
//   [data-code-copy]             copies the code; data-text-done: its words afterwards

import { read, write } from "./storage.js";

const KEY = "annotate:code";
// Longer blocks stay plain, so that the page answers while it is coloured.
const MAX_COLOURED = 20_000;
const DONE_MS = 2000;
const later = window.requestIdleCallback ?? ((work) => setTimeout(work, 50));
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) reach(target);
});

let shown = read(KEY) ?? {};

function dress(root) {
  const template = document.querySelector("template[data-code-tools]");
  for (const block of root.querySelectorAll(".prose pre.fenced:not(.dressed)")) {
    block.classList.add("dressed");
    const bar = template?.content.firstElementChild.cloneNode(true);
    if (bar) {
      const language = block.querySelector(":scope > small");
      if (language) bar.prepend(language);
      block.before(bar);
    }
    sizes.observe(block);
    later(() => colour(block, languageOf(bar ?? block)));
  }
  apply();
}

function languageOf(place) {
  const words = place.querySelector(":scope > small")?.textContent ?? "";
  return words.toLowerCase().match(/[\w+#-]+/)?.[0];
}

async function colour(block, language) {
  const code = block.querySelector(":scope > code");
  // Elements inside stand for invisible characters. They must stay.
  if (!language || code.childElementCount || code.textContent.length > MAX_COLOURED) return;
  const { default: highlighter } = await import("../vendor/highlight.min.js");
  if (!highlighter.getLanguage(language)) return;
  const written = code.textContent;
  const coloured = document.createElement("code");
  // The library escapes the text.
  coloured.innerHTML = highlighter.highlight(written, { language, ignoreIllegals: true }).value;
  if (coloured.textContent === written) code.replaceChildren(...coloured.childNodes);
}

/** A block that scrolls can be scrolled by keys. */
function reach(block) {
  if (block.scrollWidth > block.clientWidth) block.tabIndex = 0;
  else block.removeAttribute("tabindex");
}

function apply() {
  for (const block of document.querySelectorAll(".prose pre.dressed")) {
    block.classList.toggle("wrapped", Boolean(shown.wrap));
    number(block, Boolean(shown.numbers));
    reach(block);
  }
  for (const button of document.querySelectorAll("[data-code]")) {
    button.setAttribute("aria-pressed", String(Boolean(shown[button.dataset.code])));
  }
}

function number(block, on) {
  const gutter = block.querySelector(":scope > .gutter");
  if (on === Boolean(gutter)) return;
  if (gutter) {
    gutter.remove();
    return;
  }
  const lines = block.querySelector(":scope > code").textContent.replace(/\n$/, "").split("\n").length;
  const column = document.createElement("span");
  column.className = "gutter";
  column.setAttribute("aria-hidden", "true");
  column.textContent = Array.from({ length: lines }, (_, index) => index + 1).join("\n");
  block.prepend(column);
}

async function copy(button) {
  const block = button.closest(".code-tools").nextElementSibling;
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(block.querySelector(":scope > code").textContent);
  } catch {
    // Without HTTPS or permission: select the code, so that the browser's own command copies it.
    getSelection().selectAllChildren(block.querySelector(":scope > code"));
    return;
  }
  button.textContent = button.dataset.textDone;
  setTimeout(() => {
    button.textContent = words;
  }, DONE_MS);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-code], [data-code-copy]");
  if (!button) return;
  const name = button.dataset.code;
  if (!name) {
    copy(button);
    return;
  }
  const on = !shown[name];
  shown = { ...shown, [name]: on, ...(on && { [name === "wrap" ? "numbers" : "wrap"]: false }) };
  write(KEY, shown);
  apply();
});
window.addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  shown = read(KEY) ?? {};
  apply();
});

dress(document);
document.addEventListener("htmx:load", (event) => dress(event.detail.elt));
document.addEventListener("rendered", (event) => dress(event.target));
