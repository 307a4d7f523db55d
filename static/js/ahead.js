// Leases the next task and loads its page while the labeler works, so that nobody waits after a submit. Without this
// script the next task is claimed and loaded after the submit.
//
//   form[data-ahead-url]   POST returns the next task's page and the end of its lease; page null: there is no task
//
// The browser caches the page under the address with ?ahead. When shown, the page replaces this address by the task's
// own (lease.js), so that a reload or a link shows the current state.

import { post } from "./http.js";

const PAUSE = 2_000; // a labeler who only looks at a task leases no second one

const form = document.querySelector("form[data-ahead-url]");
let ready = null;

const SIGNS = ["input", "change", "pairs:changed"];

for (const sign of SIGNS) form?.addEventListener(sign, begin);

function begin() {
  for (const sign of SIGNS) form.removeEventListener(sign, begin);
  setTimeout(load, PAUSE);
}

async function load() {
  const { outcome, data } = await post(form.dataset.aheadUrl, {});
  if (outcome !== "done" || !data.page) return;
  try {
    const page = await fetch(`${data.page}?ahead`, { redirect: "error" });
    await page.text();
    if (page.ok) ready = { page: data.page, until: Date.parse(data.leased_until) };
  } catch {
    // No connection: the page is loaded after the submit.
  }
}

/** The address of the page in the browser's cache, or the page's own. */
export function nearest(page) {
  return ready?.page === page && Date.now() < ready.until ? `${page}?ahead` : page;
}
