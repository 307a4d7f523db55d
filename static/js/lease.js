// Keeps the task in one's hands while its page is looked at. Without it the lease lasts as long as the campaign says,
// and a late submit is taken as long as nobody else has the task.
//
//   [data-renew-url]      POST there every data-renew-seconds; 404 or 409: the lease is gone
//   [data-lease-notice]   shown then: the text is kept (templates/parts/save_state.html has it)

import { post } from "./http.js";

const task = document.querySelector("[data-renew-url]");
const seconds = Number(task.dataset.renewSeconds) || 60;
let renewedAt = Date.now(); // loading the page renewed it
let timer = setInterval(renew, seconds * 1000);

async function renew() {
  if (document.visibilityState === "hidden" || !timer) return;
  renewedAt = Date.now();
  const { status, data } = await post(task.dataset.renewUrl, {});
  if (status === 409 || status === 404) lost(data.words);
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
  if (Date.now() - renewedAt >= seconds * 1000) renew();
});
