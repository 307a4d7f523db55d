// The ranking board: candidates are rated and placed by dragging, clicking or keys. Without this script each candidate
// has seven radio buttons and a list of places, and the form sends the same.
//
// The radio buttons and the lists hold the state. Every action changes one of them and fires a change event, from which
// the board is drawn, so that a restored draft, a choice in a list and a drag all take the same path.

import { watch } from "./complete.js";

const root = document.querySelector("[data-ranking]");
const board = root.querySelector("[data-board]");
const cards = new Map([...root.querySelectorAll("[data-candidate]")].map((card) => [card.dataset.candidate, card]));
const slots = [...board.querySelectorAll("[data-place]")];
const letters = [...cards.keys()];
const chips = new Map(letters.map((letter) => [letter, chip(letter)]));
const pinned = new Set();
const GAP = 6; // px: more than the gap between two places
const MOVES = ["dragover", "drop", "pointermove", "pointerup", "touchmove", "touchend", "mousemove", "mouseup"];
const CANCELS = ["dragend", "touchcancel", "pointercancel"]; // an accepted drop ends in "drop"
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
let mode = "rate";

const card = (letter) => cards.get(letter);
const list = (letter) => card(letter).querySelector("select");
const place = (letter) => Number(list(letter).value); // 0: not placed
const rating = (letter) => Number(card(letter).querySelector("[type=radio]:checked")?.value ?? 0);
const grip = (letter) => chips.get(letter).firstElementChild;
const text = (name, values = {}) => root.dataset[`text${name}`].replace(/\{(\w+)\}/g, (_, key) => values[key]);
const listed = (names) => new Intl.ListFormat(document.documentElement.lang, { type: "conjunction" }).format(names);

// ---- Changing the answer ------------------------------------------------------------------------------------------

function put(letter, number) {
  if (number < 0 || number > letters.length) return;
  if (place(letter) !== number) {
    list(letter).value = number || "";
    list(letter).dispatchEvent(new Event("change", { bubbles: true }));
  }
  say(described(letter));
}

function rate(letter, number) {
  const radio = card(letter).querySelector(`[type=radio][value="${number}"]`);
  if (!radio) return;
  radio.checked = true;
  radio.dispatchEvent(new Event("change", { bubbles: true }));
  const done = letters.every((one) => rating(one)) && letters.some((one) => !place(one));
  say(text("Rated", { letter, rating: number }) + (done ? ` ${text("AllRated")}` : ""));
}

// ---- Drawing ------------------------------------------------------------------------------------------------------

function chip(letter) {
  const item = document.createElement("li");
  item.dataset.chip = letter;
  const handle = document.createElement("span");
  handle.tabIndex = 0;
  handle.setAttribute("role", "button");
  handle.append(letter, document.createElement("small"));
  item.append(handle);
  return item;
}

function described(letter) {
  const others = letters.filter((one) => one !== letter && place(one) && place(one) === place(letter));
  if (!place(letter)) return text("Unplaced", { letter });
  return text(others.length ? "Tied" : "Placed", { letter, place: place(letter), others: listed(others) });
}

function draw() {
  const focused = document.activeElement.closest?.("[data-chip]")?.dataset.chip;
  // Ranks as stored: without gaps for empty places.
  const taken = [...new Set(letters.map(place).filter(Boolean))].sort((a, b) => a - b);
  const ordinals = root.dataset.ordinals.split("|");
  for (const slot of slots) {
    const number = Number(slot.dataset.place);
    const here = letters.filter((letter) => place(letter) === number);
    slot.querySelector("ul").replaceChildren(...here.map((letter) => chips.get(letter)));
    slot.classList.toggle("empty-slot", here.length === 0);
    const implied = slot.querySelector("[data-implied]");
    if (implied) {
      const rank = ordinals[taken.indexOf(number)];
      implied.textContent = here.length > 1 ? text("Tie", { rank }) : (rank ?? "");
    }
  }
  for (const letter of letters) {
    grip(letter).lastElementChild.textContent = rating(letter) || "";
    const rated = rating(letter) ? text("Rated", { letter, rating: rating(letter) }) : text("NoRating");
    grip(letter).setAttribute("aria-label", `${described(letter)} ${rated}`);
    card(letter).classList.toggle("is-done", Boolean(rating(letter) && place(letter)));
  }
  board.querySelector("[data-order]").textContent = taken
    .map((number) => letters.filter((letter) => place(letter) === number).join(" = "))
    .join(" > ");
  board.querySelector("[data-count]").textContent = text("Count", {
    rated: letters.filter(rating).length,
    placed: letters.filter(place).length,
    all: letters.length,
  });
  drawSlip();
  drawMissing(letters.filter((letter) => !card(letter).querySelector("[data-missing]").hidden));
  if (focused) grip(focused).focus({ preventScroll: true });
}

// 7 is the best rating and 1 the best place: warn about an order that suggests a mix-up.
function drawSlip() {
  const line = board.querySelector("[data-slip]");
  const pairs = letters.flatMap((better) => letters.map((worse) => [better, worse]));
  const slip = pairs.find(
    ([better, worse]) => rating(better) > rating(worse) && rating(worse) && place(worse) && place(better) > place(worse),
  );
  line.hidden = !slip;
  if (!slip) return;
  const [better, worse] = slip;
  line.textContent = text("Slip", { better, worse, high: rating(better), low: rating(worse) });
}

function say(words) {
  root.querySelector("[data-say]").textContent = words;
}

// ---- Position -----------------------------------------------------------------------------------------------------

function select(letter) {
  for (const one of letters) {
    chips.get(one).classList.toggle("is-selected", one === letter);
    card(one).classList.toggle("is-selected", one === letter);
  }
}

function selected() {
  return letters.find((letter) => chips.get(letter).classList.contains("is-selected"));
}

function read(letter) {
  if (pinned.size > 1 && !pinned.has(letter)) showAll();
  card(letter).focus({ preventScroll: true });
  bring(letter);
}

function rank(letter) {
  open(true);
  grip(letter).focus({ preventScroll: true });
  bring(letter);
}

// Scroll only to a text whose beginning is out of view, so that the text being read does not jump.
function bring(letter) {
  const { top } = card(letter).getBoundingClientRect();
  if (top < 0 || top > innerHeight * 0.6) {
    card(letter).scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
  }
}

function setMode(name) {
  mode = name;
  for (const button of board.querySelectorAll("[data-mode]")) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === name));
  }
  say(text(name === "rate" ? "ModeRate" : "ModeRank"));
}

// On narrow windows the board is a bar at the bottom that opens.
function open(wanted) {
  board.classList.toggle("is-open", wanted);
  board.querySelector("[data-board-toggle]").setAttribute("aria-expanded", String(wanted));
}

// ---- Comparing ----------------------------------------------------------------------------------------------------

function pin(letter) {
  if (!pinned.delete(letter)) pinned.add(letter);
  drawPins();
  bring(letter);
}

function showAll() {
  pinned.clear();
  drawPins();
}

function drawPins() {
  for (const letter of letters) {
    card(letter).hidden = pinned.size > 1 && !pinned.has(letter);
    card(letter).querySelector("[data-pin]").setAttribute("aria-pressed", String(pinned.has(letter)));
  }
  const bar = root.querySelector("[data-comparing]");
  bar.hidden = pinned.size < 2;
  bar.firstElementChild.textContent = text("Comparing", { letters: listed(letters.filter((one) => pinned.has(one))) });
  if (!bar.hidden) say(bar.firstElementChild.textContent);
}

// ---- Input --------------------------------------------------------------------------------------------------------

// Sortable fires events of this name during a drag.
root.addEventListener("change", (event) => event.target.matches("input, select") && draw());
root.closest("form")?.addEventListener("reset", () => setTimeout(draw));
root.addEventListener("focusin", (event) => {
  const letter = lettered(event.target);
  if (letter) select(letter);
});
// Each candidate and the action bar name what is missing, in place of the browser's bubble.
const complete = watch(root.closest("form"), {
  words: toDo,
  reveal,
  shown: (field) => (lettered(field) ? card(lettered(field)).querySelector("[data-missing]") : field),
});

function reveal(fields) {
  // Make a field visible that is hidden or behind the open board.
  if (pinned.size > 1) showAll();
  open(false);
  drawMissing(letters);
  const letter = lettered(fields[0]);
  if (letter) say(missing(letter));
}

function toDo() {
  const lines = [text("Incomplete")];
  for (const [name, done] of [["ToRate", rating], ["ToPlace", place]]) {
    const left = letters.filter((letter) => !done(letter));
    if (left.length) lines.push(text(name, { letters: listed(left) }));
  }
  return lines.join(" ");
}

function missing(letter) {
  return [rating(letter) ? "" : text("MissingRating", { letter }), place(letter) ? "" : text("MissingPlace", { letter })]
    .filter(Boolean)
    .join(" ");
}

function drawMissing(among) {
  for (const letter of among) {
    const line = card(letter).querySelector("[data-missing]");
    line.textContent = missing(letter);
    line.hidden = !line.textContent;
  }
}

function lettered(element) {
  const place = element.closest("[data-chip], [data-candidate]");
  return place?.dataset.chip ?? place?.dataset.candidate;
}

root.addEventListener("click", (event) => {
  const { target } = event;
  const letter = lettered(target);
  if (target.closest("[data-pin]")) pin(letter);
  else if (target.closest("[data-show-all]")) showAll();
  else if (target.closest("[data-mode]")) setMode(target.closest("[data-mode]").dataset.mode);
  else if (target.closest("[data-board-toggle]")) open(!board.classList.contains("is-open"));
  else if (target.closest("[data-chip]")) grip(letter).focus({ preventScroll: true });
  else if (target.closest("[data-place]") && selected()) {
    const chosen = selected();
    put(chosen, Number(target.closest("[data-place]").dataset.place));
    grip(chosen).focus({ preventScroll: true });
  }
});

// During a drag the board does not change: the letter stays in its row until it is dropped, and the place under the
// pointer is only marked. A row that grew or shrank would move the places below it away from the pointer. Nothing
// scrolls either, because a scrolling list would move another place under the pointer. In a window that is too low for
// all places, people scroll before the drag, or choose a letter and then a place.
let target = null; // the marked place
let dragging = false;
let finger = {}; // ids of the pointer and of the touch that drag a letter
let scrolled = []; // scrollable elements with their positions at the start of the drag
let boardTop = 0; // position of the board at the start of the drag

// A notice above the board may appear or disappear during the drag.
const changes = new MutationObserver(hold);

board.addEventListener("pointerdown", (event) => press(event, { pointer: event.pointerId }), true);
board.addEventListener("touchstart", (event) => press(event, { ...finger, touch: event.changedTouches[0].identifier }), {
  capture: true,
  passive: true,
});

function press({ target }, by) {
  if (!dragging && target.closest("[data-chip]")) finger = by;
}

for (const slot of slots) {
  window.Sortable.create(slot.querySelector("ul"), {
    group: "places",
    sort: false, // a place has no order
    animation: 0,
    delay: 120,
    delayOnTouchOnly: true,
    scroll: false,
    onMove: () => false,
    onStart({ item }) {
      dragging = true;
      select(item.dataset.chip);
      const all = [board.querySelector(".places"), board, document.scrollingElement];
      scrolled = all.map((element) => [element, element.scrollTop]);
      document.addEventListener("scroll", hold, true); // the browser scrolls at the edges
      boardTop = board.getBoundingClientRect().top;
      changes.observe(document.body, { subtree: true, childList: true, characterData: true, attributeFilter: ["hidden"] });
      addEventListener("resize", turn);
      for (const name of MOVES) document.addEventListener(name, follow, true);
    },
    onEnd({ item, originalEvent }) {
      dragging = false;
      document.removeEventListener("scroll", hold, true);
      changes.disconnect();
      removeEventListener("resize", turn);
      board.style.removeProperty("translate");
      for (const name of MOVES) document.removeEventListener(name, follow, true);
      // Lifting a second finger also ends the drag, without a place.
      const dropped = originalEvent && (CANCELS.includes(originalEvent.type) || !own(originalEvent)) ? null : target;
      mark(null);
      if (dropped) put(item.dataset.chip, Number(dropped.dataset.place));
      grip(item.dataset.chip).focus({ preventScroll: true });
    },
  });
}

function hold() {
  for (const [element, top] of scrolled) {
    if (element.scrollTop !== top) element.scrollTo({ top, behavior: "instant" });
  }
  const moved = board.getBoundingClientRect().top - boardTop;
  if (moved) board.style.translate = `0 ${(parseFloat(board.style.translate.split(" ")[1]) || 0) - moved}px`;
}

// A resize moves the board.
function turn() {
  board.style.removeProperty("translate");
  boardTop = board.getBoundingClientRect().top;
}

/** The position of the drag in an event; undefined for another finger. */
function own(event) {
  if (event.changedTouches) return [...event.changedTouches].find(({ identifier }) => identifier === finger.touch);
  return event.pointerId === undefined || event.pointerId === finger.pointer ? event : undefined;
}

function follow(event) {
  const at = own(event);
  if (!at) return;
  hold();
  mark(slotAt(at.clientX, at.clientY));
  if (target && event.type === "dragover") event.preventDefault(); // accept a drop here
}

function mark(slot) {
  if (slot === target) return;
  target?.classList.remove("is-target");
  slot?.classList.add("is-target");
  target = slot;
}

// The whole of a place is a target; a gap between two places belongs to the nearer one.
function slotAt(x, y) {
  const hit = document.elementFromPoint(x, y);
  if (hit?.closest("[data-place]")) return hit.closest("[data-place]");
  if (!hit?.closest(".places")) return null;
  const away = (slot) => {
    const { top, bottom, left, right } = slot.getBoundingClientRect();
    return x < left || x > right ? Infinity : Math.max(top - y, y - bottom);
  };
  const nearest = slots.reduce((one, other) => (away(other) < away(one) ? other : one));
  return away(nearest) < GAP ? nearest : null;
}

// In the capture phase, before the page's shortcuts: a candidate's letter has no other meaning.
document.addEventListener("keydown", keyed, true);

function keyed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open], [data-answer][inert]")) return;
  // After an incomplete submit a list of places may have the focus. Its entries begin with digits, so letters are free.
  const inList = event.target.matches("[data-candidate] select");
  if (inList ? !/^[a-z]$/i.test(event.key) : typing(event.target)) return;
  const onChip = event.target.closest("[data-chip]")?.dataset.chip;
  const action = (onChip && chipKey(event.key, onChip)) || singleKey(event);
  if (!action) return;
  event.preventDefault();
  action();
}

// These work only on a focused letter of the board.
function chipKey(key, letter) {
  const now = place(letter);
  if (/^[0-9]$/.test(key)) return () => put(letter, Number(key));
  if (key === "Backspace" || key === "Delete") return () => put(letter, 0);
  if (key === "ArrowUp" || key === "ArrowLeft") return () => put(letter, now > 1 ? now - 1 : now);
  if (key === "ArrowDown" || key === "ArrowRight") return () => put(letter, Math.min(now + 1, letters.length));
  if (key === "Enter" || key === " ") return () => read(letter);
  return null;
}

// These work wherever nobody types, unless single keys are switched off.
function singleKey(event) {
  if (document.body.hasAttribute("data-keys-off")) return null;
  const letter = lettered(event.target);
  const key = event.key.toLowerCase();
  const upper = key.toUpperCase();
  if (cards.has(upper)) return () => (mode === "rate" ? read(upper) : rank(upper));
  if (/^[1-7]$/.test(key) && event.target.closest("[data-candidate]")) return () => rate(letter, Number(key));
  if (key === "r") return () => setMode(mode === "rate" ? "rank" : "rate");
  if (key === "j" || key === "k") return () => step(key === "j" ? 1 : -1);
  if (key === "p" && selected()) return () => pin(selected());
  if (key === "escape" && pinned.size) return () => showAll();
  return null;
}

function step(by) {
  const shown = letters.filter((letter) => !card(letter).hidden);
  const at = shown.indexOf(selected());
  const next = shown[at < 0 ? 0 : (at + by + shown.length) % shown.length];
  if (mode === "rate") read(next);
  else rank(next);
}

function typing(element) {
  if (element.closest("textarea, select, [contenteditable]")) return true;
  return element.matches("input") && !["radio", "checkbox", "button", "submit"].includes(element.type);
}

for (const button of root.querySelectorAll("[data-pin]")) button.hidden = false;
board.hidden = false;
root.classList.add("has-board");
draw();
if (root.querySelector(".errorlist")) complete(); // the server has refused it
