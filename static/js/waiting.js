// On each of a labeler's pages: what the outbox (js/outbox.js) still has is sent, and shown until it is. Without it,
// and without JavaScript, nothing waits.
//
//   [data-outbox]            shown while something waits (templates/parts/outbox.html has it, and all the words)
//   form[data-hand-in]       a task's form: what it has handed in it sends itself
//   [data-outbox-shown="k"]  the page shows the refused answer k itself
//   [data-outbox-refresh]    on a page that is out of date when an answer has been delivered

import { filled } from "./http.js";
import { deliver, drop, entries, onChange, persist } from "./outbox.js";
import { moment } from "./times.js";
import { asText } from "./values.js";

const box = document.querySelector("[data-outbox]");
const part = (name) => box.querySelector(`[data-outbox-${name}]`);
const say = document.querySelector("[data-outbox-say]"); // outside: what appears with its words is not read out
const task = document.querySelector("form[data-hand-in]");
const here = task?.getAttribute("action");
// A form that the server sends back with its faults has the key that it was sent with.
const shownHere = document.querySelector("[data-outbox-shown]")?.dataset.outboxShown ?? task?.elements.submit_key.value;
const plural = new Intl.PluralRules(document.documentElement.lang);

const delivered = []; // from this page

const waiting = () => entries().filter((entry) => !entry.refused && entry.url !== here);
const refused = () => entries().filter((entry) => entry.refused && entry.key !== shownHere);

/** Is nothing left to be sent? */
async function send() {
  const before = delivered.length;
  for (const entry of waiting()) {
    const { outcome } = await deliver(entry.key, { stay: true });
    if (outcome === "done") delivered.push(entry);
    if (outcome === "offline" || outcome === "logged-out") break; // the others would fare the same
  }
  if (delivered.length > before && document.querySelector("[data-outbox-refresh]")) location.reload();
  draw();
  return waiting().length === 0;
}

function draw() {
  // What is on its way for the first time is not worth a word yet.
  const late = waiting().filter((entry) => entry.failed);
  const lines = [];
  if (late.length) {
    const loggedOut = late.some((entry) => entry.failed === "logged-out");
    lines.push(waitingLine(late.length), box.dataset[loggedOut ? "textLoggedOut" : "textOffline"]);
  }
  for (const entry of delivered) lines.push(filled(box.dataset.textDelivered, named(entry)));
  part("list").replaceChildren(...late.map(lineOf), ...refused().map(lineOf));
  part("send").hidden = late.length === 0;
  part("words").hidden = lines.length === 0;
  box.hidden = lines.length === 0 && part("list").childElementCount === 0;
  const said = [...lines, ...refused().map(whyOf)].join(" ");
  part("words").textContent = lines.join(" ");
  if (say.textContent !== said) say.textContent = said;
}

function waitingLine(count) {
  const one = plural.select(count) === "one";
  return filled(box.dataset[one ? "textWaitsOne" : "textWaitsMany"], { count });
}

function named(entry) {
  return { name: entry.name, time: moment(new Date(entry.at)) };
}

function whyOf(entry) {
  return filled(box.dataset.textRefused, { ...named(entry), words: entry.refused });
}

function lineOf(entry) {
  const line = part(entry.refused ? "refused" : "waiting").content.firstElementChild.cloneNode(true);
  const within = (name) => line.querySelector(`[data-outbox-${name}]`);
  within("name").textContent = entry.refused ? whyOf(entry) : `${entry.name}, ${named(entry).time}`;
  within("task").href = entry.page;
  if (!entry.refused) return line;
  within("text").value = asText(entry.body);
  within("copy").addEventListener("click", () => copy(within("text")));
  within("drop").addEventListener("click", ({ detail }) => {
    if (detail > 1) return; // of a double click: by then another answer has moved up to this place
    drop(entry.key);
    draw();
  });
  return line;
}

function copy(area) {
  area.closest("details").open = true;
  area.select();
  navigator.clipboard?.writeText(area.value).catch(() => {}); // it is selected: the browser's own way is left
}

const now = persist(send);
part("send").addEventListener("click", now);
onChange(() => {
  draw();
  // The tab that has just handed it in is the first to send it.
  if (waiting().length) setTimeout(now, 3000);
});
draw();
