// Renews the lease while the page is visible. Without this script the lease lasts as long as the campaign allows, and a
// late submit is accepted while nobody else has the task.
//
//   [data-renew-url]      POST there every data-renew-seconds; 404 or 409: the lease is gone
//   [data-lease-notice]   shown when the lease is gone; the text is kept (templates/parts/save_state.html)
//   [data-lease-until]    shows the end of the lease
//
// Each POST reports the active time (active.js).

import { told } from "./active.js";
import { post } from "./http.js";
import { moment } from "./times.js";

const task = document.querySelector("[data-renew-url]");
const seconds = Number(task.dataset.renewSeconds) || 60;
let renewedAt = Date.now(); // the page load renewed the lease
let timer = setInterval(renew, seconds * 1000);
let submitted = false; // the submit reported the active time
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

// Timers stop while the machine sleeps and hardly run in hidden tabs.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && Date.now() - renewedAt >= seconds * 1000) renew();
  // Report the active time now: the person may not come back.
  if (document.visibilityState === "hidden" && timer && !submitted) {
    post(task.dataset.renewUrl, { active: told() }, { keepalive: true });
  }
});

// A page that was loaded ahead of time (ahead.js) shows an earlier lease.
if (location.search === "?ahead") {
  history.replaceState(null, "", location.pathname);
  renew();
}
