// Counts the seconds in which the labeler sees this page and does something, so that an answer's time can be trusted.
// The total goes with every heartbeat (lease.js) and with the submit. Without it an answer's active time is unknown.
//
//   input[data-active]   in the task's form; it takes "id:seconds"

const TICK = 1000;
const IDLE = 60_000; // whoever reads moves something now and then
const SIGNS = ["keydown", "pointerdown", "pointermove", "wheel", "scroll", "touchmove"];

const field = document.querySelector("[data-active]");
const sitting = newId();
let total = 0;
// The page's own clock, which nobody can set back.
let ticked = performance.now();
let sign = ticked; // opening the page is one

/** This opening of the page and its active seconds so far. */
export function told() {
  count();
  return `${sitting}:${(total / 1000).toFixed(1)}`;
}

function count() {
  const now = performance.now();
  // A machine that slept, or a tab that the browser put to sleep, was not worked at.
  if (document.visibilityState === "visible" && now - sign < IDLE) total += Math.min(now - ticked, 2 * TICK);
  ticked = now;
}

// crypto.randomUUID is there only under TLS.
function newId() {
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0"));
  return hex.join("");
}

for (const name of SIGNS) {
  const note = () => {
    sign = performance.now();
  };
  document.addEventListener(name, note, { passive: true, capture: true });
}
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") sign = ticked = performance.now();
});
setInterval(count, TICK);
const tell = () => {
  field.value = told();
};
field?.form.addEventListener("submit", tell, { capture: true });
