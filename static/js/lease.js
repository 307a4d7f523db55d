// Keeps the task in one's hands while its page is looked at. Without it the lease lasts as long as the campaign says,
// and a late submit is taken as long as nobody else has the task.
//
//   [data-renew-url]      POST there every data-renew-seconds; 404 or 409: the lease is gone
//   [data-lease-notice]   shown then: the text is kept (templates/parts/save_state.html has it)

//   [data-lease-until]    says until when it is theirs
//
// With each of these goes how long the labeler was active (active.js).

import { told } from "./active.js";
import { post } from "./http.js";
import { moment } from "./times.js";

const task = document.querySelector("[data-renew-url]");
const seconds = Number(task.dataset.renewSeconds) || 60;
let renewedAt = Date.now(); // loading the page renewed it
let timer = setInterval(renew, seconds * 1000);
let submitted = false; // the time went with the answer
task.addEventListener("submit", () => {
  submitted = true;
});

async function renew() {
  if (document.visibilityState === "hidden" || !timer) return;
  renewedAt = Date.now();
  const { status, data } = await post(task.dataset.renewUrl, { active: told() });
  if (status === 409 || status === 404) lost(data.words);
  else if (data.leased_until) show(new Date(data.leased_until));
}

function show(until) {
  const time = document.querySelector("[data-lease-until] time");
  if (!time) return;
  time.dateTime = until.toISOString();
  time.textContent = moment(until, "time");
}

function lost(words) {
  clearInterval(timer);
  timer = null;
  const notice = document.querySelector("[data-lease-notice]");
  if (!notice) return;
  const line = notice.querySelector("[data-lease-words]");
  if (line && words) line.textContent = words;
  notice.hidden = false;
}

// Timers sleep with the machine, and in hidden tabs they hardly run.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && Date.now() - renewedAt >= seconds * 1000) renew();
  // The time so far belongs to this page, whatever the person does next.
  if (document.visibilityState === "hidden" && timer && !submitted) {
    post(task.dataset.renewUrl, { active: told() }, { keepalive: true });
  }
});

// A page that was made ready while the labeler worked on another task (ahead.js) was made before its time.
if (location.search === "?ahead") {
  history.replaceState(null, "", location.pathname);
  renew();
}
