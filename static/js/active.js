// Counts the seconds in which this page is visible and the labeler is active. Each heartbeat (lease.js) and the submit
// send the total. Without this script the active time of an answer is unknown.
//
//   input[data-active]   in the task's form; holds "id:seconds"

const TICK = 1000;
const IDLE = 60_000; // people who read still move the mouse now and then
const SIGNS = ["keydown", "pointerdown", "pointermove", "wheel", "scroll", "touchmove"];

const field = document.querySelector("[data-active]");
const sitting = newId();
let total = 0;
// A monotonic clock.
let ticked = performance.now();
let sign = ticked; // opening the page is one

/** The id of this page visit and its active seconds so far. */
export function told() {
  count();
  return `${sitting}:${(total / 1000).toFixed(1)}`;
}

function count() {
  const now = performance.now();
  // At most 2 ticks: the time in which the machine or the tab slept does not count.
  if (document.visibilityState === "visible" && now - sign < IDLE) total += Math.min(now - ticked, 2 * TICK);
  ticked = now;
}

// crypto.randomUUID exists only under TLS.
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
