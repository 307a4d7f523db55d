// While the labeler works, leases the task after this one and lets the browser load its page, so that nobody waits
// after a submit. Without it the next task is claimed and loaded after the submit.
//
//   form[data-ahead-url]   POST there: the next task's page, and until when it is theirs; page null: there is none
//
// The page goes into the browser's own cache under an address of its own (?ahead): once shown it gives way to the
// task's real address (lease.js), so that a reload or a link shows the task as it is by then.

import { post } from "./http.js";

const PAUSE = 2_000; // whoever has begun stays; whoever only looks in takes no second task from others

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
    // No connection: then it is loaded after the submit.
  }
}

/** The address under which the browser has that page already, or the page's own. */
export function nearest(page) {
  return ready?.page === page && Date.now() < ready.until ? `${page}?ahead` : page;
}
