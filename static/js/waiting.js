// On each page of a labeler: sends the answers in the outbox (js/outbox.js) and shows those that wait.
//
//   [data-outbox]            shown while an answer waits (templates/parts/outbox.html, with all messages)
//   form[data-hand-in]       a task's form, which sends its own answer
//   [data-outbox-shown="k"]  the page itself shows the refused answer k
//   [data-outbox-refresh]    replaced when an answer has been delivered

import { filled } from "./http.js";
import { deliver, drop, entries, onChange, persist } from "./outbox.js";
import { moment } from "./times.js";
import { asText } from "./values.js";

const box = document.querySelector("[data-outbox]");
const part = (name) => box.querySelector(`[data-outbox-${name}]`);
const say = document.querySelector("[data-outbox-say]"); // outside the box: screen readers skip text that appears with its region
const task = document.querySelector("form[data-hand-in]");
const here = task?.getAttribute("action");
// A form that the server refuses comes back with the same key.
const shownHere = document.querySelector("[data-outbox-shown]")?.dataset.outboxShown ?? task?.elements.submit_key.value;
const plural = new Intl.PluralRules(document.documentElement.lang);

const delivered = []; // from this page

const waiting = () => entries().filter((entry) => !entry.refused && entry.url !== here);
const refused = () => entries().filter((entry) => entry.refused && entry.key !== shownHere);

/** Sends the waiting answers; true if none is left. */
async function send() {
  const before = delivered.length;
  for (const entry of waiting()) {
    const { outcome } = await deliver(entry.key, { stay: true });
    if (outcome === "done") delivered.push(entry);
    if (outcome === "offline" || outcome === "logged-out") break; // the others would fail in the same way
  }
  if (delivered.length > before && document.querySelector("[data-outbox-refresh]")) location.reload();
  draw();
  return waiting().length === 0;
}

function draw() {
  // Say nothing about the first attempt.
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
    if (detail > 1) return; // double click: another answer has moved up to this place
    drop(entry.key);
    draw();
  });
  return line;
}

function copy(area) {
  area.closest("details").open = true;
  area.select();
  navigator.clipboard?.writeText(area.value).catch(() => {}); // the text is selected, so people can copy it themselves
}

const now = persist(send);
part("send").addEventListener("click", now);
onChange(() => {
  draw();
  // The tab of the submit sends first.
  if (waiting().length) setTimeout(now, 3000);
});
draw();
