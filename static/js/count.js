// Counts words and characters during typing. Without this script the count is the one at page load.
//
//   textarea[data-count="id"]   the id of the element that shows the count
//   that element                data-text="{words} words, {characters} characters"; data-most: warn above this number

import { filled } from "./http.js";

for (const area of document.querySelectorAll("textarea[data-count]")) {
  const shown = document.getElementById(area.dataset.count);
  if (!shown) continue;
  const number = new Intl.NumberFormat(document.documentElement.lang);
  const most = Number(shown.dataset.most) || Infinity;
  const show = () => {
    // As the server counts: runs between white space, and characters, not the halves that UTF-16 makes of some.
    const words = area.value.match(/\S+/g)?.length ?? 0;
    const characters = [...area.value].length;
    shown.textContent = filled(shown.dataset.text, { words: number.format(words), characters: number.format(characters) });
    shown.classList.toggle("too-much", characters > most);
  };
  let frame = 0;
  area.addEventListener("input", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(show);
  });
  show();
}
