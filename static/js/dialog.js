// Opens a dialog in such a way that no earlier key or click acts in it. Keys and clicks from before the dialog was
// visible were meant for the page behind it, so they are dropped, and so are repeats of keys that are still down. The
// focus goes to the dialog itself, so that space and Enter do nothing until the reader moves to a control. Without this
// script no dialog opens, and its button leads to a page instead.

const EVENTS = ["keydown", "keypress", "keyup", "click"];

const held = new Set(); // keys that are down, by their place on the keyboard
const stale = new Set(); // of these, the ones that were down before the open dialog was on the screen
let shownAt = 0; // when it was, by the clock of events

window.addEventListener("keydown", ({ code }) => held.add(code), true);
window.addEventListener("keyup", ({ code }) => held.delete(code), true);
window.addEventListener("blur", () => held.clear()); // the keyup goes to another window

for (const name of EVENTS) window.addEventListener(name, guard, true);

export function show(dialog) {
  if (dialog.open) return;
  shownAt = Infinity;
  stale.clear();
  for (const code of held) stale.add(code);
  dialog.tabIndex = -1;
  dialog.showModal();
  dialog.focus();
  // The second callback runs after the frame of the first one, which has the dialog in it.
  requestAnimationFrame(() =>
    requestAnimationFrame((now) => {
      shownAt = now;
    }),
  );
}

function guard(event) {
  if (event.key === "Escape" || !document.querySelector("dialog:modal") || !early(event)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

function early({ type, code, repeat, timeStamp }) {
  if (timeStamp < shownAt) {
    if (type === "keydown") stale.add(code);
    if (type === "keyup") stale.delete(code);
    return true;
  }
  if (!stale.has(code) || (type === "keydown" && repeat)) return stale.has(code);
  // The end of the key press, or a new one whose predecessor ended unseen.
  stale.delete(code);
  return type === "keyup";
}
