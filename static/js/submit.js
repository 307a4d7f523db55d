// Hands an answer in without leaving its page, so that a connection that is gone costs nothing: the answer goes into
// the outbox and from there to the server. Without it the form is sent as forms are.
//
//   form[data-hand-in]     what the list of waiting answers calls it; data-page: its task's address
//   form[data-writing]     its answer is a text: after the submit the next text has the focus
//   [data-answer]          in the form: its fields, which rest while the answer is on its way or waits
//   [data-hand-in-say]     says what happens, to screen readers
//   [data-hand-in-notice]  shown while the answer waits; templates/desk/_hand_in.html has it, and all the words
//
// A refusal is shown by the page that the plain form gets: the form is sent once more, as forms are.

import { nearest } from "./ahead.js";
import { csrfToken, filled } from "./http.js";
import { again, deliver, drop, keep, onChange, persist, shown, waitingFor, withdraw } from "./outbox.js";
import { person } from "./storage.js";
import { remember } from "./undo.js";
import { collect, fill, same } from "./values.js";

const form = document.querySelector("form[data-hand-in]");
const answer = form.querySelector("[data-answer]");
const notice = form.querySelector("[data-hand-in-notice]");
const words = notice.querySelector("[data-hand-in-words]");
const say = form.querySelector("[data-hand-in-say]");
const url = form.getAttribute("action");
const key = form.elements.submit_key;
const PAGE_FIELDS = ["csrfmiddlewaretoken", "submit_key", "then", "active"];
const SOON = 300;

let entry = null; // what was handed in here, until the server has it
let kept = true; // does the browser keep it, or only this page?
let left = false; // on the way to the next page
let writing = form.hasAttribute("data-writing"); // or from the text of a form that is not for writing
let working; // the sign of it, after a moment

// After an answer was written and submitted, the next text has the focus, however the answer was submitted: people go on
// typing, and what they type belongs there. Where storage is switched off, the address says so, as it does after a form
// that was sent whole.
const WRITING = "annotate-writing";
const text = answer.querySelector("textarea");
if (text && goesOnWriting() && text.checkVisibility() && document.activeElement === document.body) {
  text.focus({ preventScroll: true });
}

function goesOnWriting() {
  const addressed = location.hash === `#${text.id}`;
  if (addressed) {
    // The browser has scrolled to the text, past the prompt. A reload is no submit.
    history.replaceState(null, "", location.pathname + location.search);
    scrollTo(0, 0);
  }
  try {
    const kept = sessionStorage.getItem(WRITING);
    sessionStorage.removeItem(WRITING);
    return addressed || kept !== null;
  } catch {
    return addressed;
  }
}

/** @returns the page, under an address that says so where nothing else can */
function writeOn(page) {
  const shape = (path) => path.replace(/\d+/g, "").replace("?ahead", "");
  if (!writing || shape(page) !== shape(form.dataset.page)) return page; // not a task
  try {
    sessionStorage.setItem(WRITING, "1");
    return page;
  } catch {
    return `${page}#${text.id}`;
  }
}

shown(key.value);
const waiting = waitingFor(url);
if (waiting) {
  entry = waiting;
  key.value = entry.key;
  if (!same(collect(form), entry.body)) fill(form, entry.body);
  wait(entry.failed ?? "sending");
}
const now = persist(send);
onChange(() => entry && now());

form.addEventListener("submit", (event) => {
  const button = event.submitter;
  // Put back, skip, another pair: these leave the page as they always did.
  if (button?.hasAttribute("formaction") || !["", "then"].includes(button?.name ?? "")) return;
  event.preventDefault();
  if (entry) return; // a second click, or Ctrl+Enter twice
  entry = entryOf(button);
  kept = keep(entry);
  writing = form.hasAttribute("data-writing") || document.activeElement?.matches("textarea");
  answer.inert = true;
  busy(button ?? form.querySelector("[type=submit]"));
  say.textContent = notice.dataset.textSending;
  now();
});

function entryOf(button) {
  const body = {};
  for (const [name, text] of new FormData(form)) {
    if (PAGE_FIELDS.includes(name)) continue;
    body[name] ??= [];
    body[name].push(text);
  }
  return {
    key: key.value,
    url,
    page: form.dataset.page,
    draft: form.dataset.draftUrl,
    name: form.dataset.handIn,
    person: person(),
    at: Date.now(),
    // biome-ignore lint/suspicious/noThenProperty: the name of a form field, and a text, which nobody awaits
    then: button?.name === "then" ? button.value : "",
    active: form.elements.active?.value ?? "",
    body,
  };
}

/** Is nothing left to be sent? */
async function send() {
  if (!entry || left) return true;
  if (entry.delivered) return goOn();
  const stay = document.visibilityState === "hidden"; // the next task is taken when the person comes back
  const sent = await deliver(entry.key, { stay });
  if (!entry) return true; // taken back meanwhile
  if (sent.outcome === "done" || sent.outcome === "elsewhere") {
    entry.delivered = true;
    if (sent.outcome === "elsewhere") return goOn();
    if (!stay || entry.then) onward(sent.data);
    return true;
  }
  if (sent.outcome === "refused") refused(sent);
  else if (sent.outcome === "gone") goTo(form.dataset.page);
  else if (sent.outcome !== "busy") wait(sent.outcome);
  return !entry || left;
}

/** It was handed in without this page: the same once more tells where to go from here. */
async function goOn() {
  if (document.visibilityState === "hidden") return true;
  const { outcome, data } = await again(entry);
  if (outcome === "offline") return false;
  if (outcome === "done") onward(data);
  else goTo(form.dataset.page);
  return true;
}

function onward(data) {
  remember(data);
  goTo(writeOn(nearest(data.next)));
}

function goTo(page) {
  left = true;
  drop(entry.key);
  location.assign(page);
}

function refused({ status, data }) {
  if (status === 409 || status === 422) {
    sendPlain();
  } else {
    tell("refused", { words: data.words ?? "" });
    open();
  }
}

function sendPlain() {
  if (entry.then) form.append(Object.assign(document.createElement("input"), { type: "hidden", name: "then", value: entry.then }));
  form.elements.csrfmiddlewaretoken.value = csrfToken(); // that of the page may be of an earlier login
  entry = null; // the outbox keeps it until that page has come
  answer.inert = false;
  HTMLFormElement.prototype.submit.call(form);
}

// ---- What the page shows ------------------------------------------------------------------------------------------

function wait(outcome) {
  const first = notice.hidden;
  notice.hidden = false;
  answer.inert = true;
  form.setAttribute("data-waits", "");
  tell(kept ? outcome : "nowhere");
  notice.querySelector("[data-hand-in-login]").hidden = outcome !== "logged-out";
  rest();
  for (const button of buttons()) button.disabled = true;
  if (!first) return;
  notice.focus({ preventScroll: true });
  notice.scrollIntoView({ block: "nearest" });
}

function tell(name, values = {}) {
  const said = filled(notice.dataset[`text${name.replace(/(^|-)(\w)/g, (_match, _dash, letter) => letter.toUpperCase())}`], values);
  notice.hidden = false;
  if (words.textContent !== said) words.textContent = say.textContent = said;
}

/** The form is as before, under a new key: what is written from here on is another answer than the one that waited. */
function open() {
  drop(entry.key);
  entry = null;
  key.value = newKey();
  answer.inert = false;
  form.removeAttribute("data-waits");
  for (const button of buttons()) button.disabled = false;
  rest();
  form.dispatchEvent(new CustomEvent("submit:taken-back"));
}

// What takes no time needs no sign: at every submit the buttons would jump.
function busy(button) {
  working = setTimeout(() => button.setAttribute("aria-busy", "true"), SOON);
}

function rest() {
  clearTimeout(working);
  for (const button of buttons()) button.removeAttribute("aria-busy");
}

function buttons() {
  return [...form.querySelectorAll(".actionbar [type=submit]")];
}

function newKey() {
  // crypto.randomUUID asks for TLS, which not every house network has.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

notice.querySelector("[data-hand-in-now]").addEventListener("click", now);
notice.querySelector("[data-hand-in-back]").addEventListener("click", async () => {
  if (!entry || !(await withdraw(entry.key))) return;
  open();
  notice.hidden = true;
  say.textContent = "";
  (answer.querySelector("textarea, select, input") ?? form).focus();
});
window.addEventListener("beforeunload", (event) => {
  if (entry && !kept && !left) event.preventDefault();
});
window.addEventListener("pageshow", (event) => {
  // Back from the next page, to one that has been handed in.
  if (event.persisted && left) location.reload();
  if (event.persisted) rest();
});
