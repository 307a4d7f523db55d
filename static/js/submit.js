// Submits an answer without leaving the page: puts it into the outbox, and sends it from there, so that a lost
// connection loses nothing. Without this script the form is sent directly.
//
//   form[data-hand-in]     its name in the list of waiting answers; data-page: its task's address
//   form[data-writing]     its answer is a text: after the submit the next text gets the focus
//   [data-answer]          in the form: its fields, disabled while the answer is being sent or waits
//   [data-hand-in-say]     announces the state to screen readers
//   [data-hand-in-notice]  shown while the answer waits (templates/desk/_hand_in.html, with all messages)
//
// To show a refusal the form is sent once more, without this script: the server returns the page with the errors.

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

let entry = null; // the submitted answer, until the server has it
let kept = true; // whether the browser stores it; else only this page has it
let left = false; // on the way to the next page
let writing = form.hasAttribute("data-writing"); // or the focus is in a text of another form
let working; // timer of the progress sign

// After the submit of a written answer the next text gets the focus, because people go on typing. Where storage is off,
// the address carries this, as after a form that was sent directly.
const WRITING = "annotate-writing";
const text = answer.querySelector("textarea");
if (text && goesOnWriting() && text.checkVisibility() && document.activeElement === document.body) {
  text.focus({ preventScroll: true });
}

function goesOnWriting() {
  const addressed = location.hash === `#${text.id}`;
  if (addressed) {
    // Scroll back to the prompt: the focus has scrolled to the text. A reload must not do this.
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

/** @returns the page's address, with a mark where storage is off */
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
  // Put back, skip, add a pair: these send the form directly.
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

/** Sends the answer; true if nothing is left to send. */
async function send() {
  if (!entry || left) return true;
  if (entry.delivered) return goOn();
  const stay = document.visibilityState === "hidden"; // claim the next task when the person comes back
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

/** Another tab has sent the answer: sends it again to get the next address. */
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
  form.elements.csrfmiddlewaretoken.value = csrfToken(); // the page's token may belong to an earlier login
  entry = null; // the outbox keeps it until that page has loaded
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

/** Restores the form with a new key: later text is another answer than the one that waited. */
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

// No sign for a fast submit: the buttons would jump.
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
  // crypto.randomUUID needs TLS, which some local networks lack.
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
  // Back from the next page to a submitted one.
  if (event.persisted && left) location.reload();
  if (event.persisted) rest();
});
