// Saves what is typed as it is typed. Without it the text is kept by the buttons that send the whole form.
//
//   form[data-draft-url]        POST {"body": {field: text or [texts]}}; any 2xx is an acknowledgement
//   [data-save-state]           in the form: says what is saved (templates/parts/save_state.html has all the words)
//   [data-draft-offer]          shown when this browser kept text that the server does not have
//
// Until the server has acknowledged a text it is mirrored in localStorage, so that a crash, a dead connection or an
// expired session costs nothing. Each opening of the page has a mirror of its own, so tabs do not overwrite each other,
// and it goes when the server has the text. What is left of one is text that the server may lack: it is offered when
// the page is opened again, unless it is what the form says already. No clocks are compared, because the browser's and
// the server's differ.

import { filled, post } from "./http.js";
import { moment } from "./times.js";

const PREFIX = "annotate:draft:";
const PAUSE = 1500;
const MIRROR_PAUSE = 300;
const RETRY = [5_000, 15_000, 30_000, 60_000];
const KEEPALIVE_BYTES = 60_000; // browsers refuse more than 64 kB in requests that outlive the page
const DAY = 24 * 3600 * 1000;

let made = 0; // mirrors of this page

for (const form of document.querySelectorAll("form[data-draft-url]")) watch(form);
prune();

function watch(form) {
  const url = form.dataset.draftUrl;
  const own = newKey(url);
  const state = form.querySelector("[data-save-state]");
  const trouble = form.querySelector("[data-save-trouble]");
  const timers = {};
  let edits = 0; // how often the form has changed
  let saved = 0; // the newest of these that the server has
  let failures = 0;
  let sending = false;
  let submitted = false;

  const body = () => collect(form);
  const later = (name, pause, act) => {
    clearTimeout(timers[name]);
    timers[name] = setTimeout(act, pause);
  };

  function show(name, values = {}) {
    if (!state) return;
    state.dataset.saveState = name.startsWith("kept") ? "kept" : name;
    const attribute = `text${name.replace(/(^|-)(\w)/g, (_, dash, letter) => letter.toUpperCase())}`;
    state.textContent = filled(state.dataset[attribute], values);
    // Read out only what matters: a "Saved" every few seconds would talk over the text.
    const words = name.startsWith("kept") || name === "nowhere" ? state.textContent : "";
    if (trouble.textContent !== words) trouble.textContent = words;
  }

  function mirror() {
    clearTimeout(timers.mirror);
    return write(own, { at: Date.now(), body: body(), submitted });
  }

  function edited() {
    edits += 1;
    if (submitted) return;
    later("mirror", MIRROR_PAUSE, mirror);
    later("save", PAUSE, save);
    if (state?.dataset.saveState === "saved") show("typing");
  }

  async function save({ leaving = false } = {}) {
    clearTimeout(timers.save);
    if (edits === saved || submitted || (sending && !leaving)) return;
    const kept = mirror();
    const sent = edits;
    const text = body();
    sending = true;
    show("saving");
    const keepalive = leaving && new Blob([JSON.stringify(text)]).size < KEEPALIVE_BYTES;
    const answer = await post(url, { body: text }, { keepalive });
    sending = false;
    if (answer.outcome === "done") acknowledged(sent);
    else notSaved(answer, kept);
  }

  function acknowledged(sent) {
    saved = Math.max(saved, sent);
    failures = 0;
    if (submitted) return;
    if (saved !== edits) {
      later("save", PAUSE, save);
      return;
    }
    clearTimeout(timers.mirror);
    remove(own);
    show("saved", { time: moment(new Date(), "time") });
  }

  function notSaved({ outcome, data }, kept) {
    if (submitted) return;
    if (!kept) show("nowhere");
    else if (outcome === "refused") show("kept-refused", { words: data.words ?? "" });
    else show(outcome === "offline" ? "kept-offline" : "kept-logged-out");
    if (outcome === "refused") return; // the next change tries again
    later("save", RETRY[Math.min(failures, RETRY.length - 1)], save);
    failures += 1;
  }

  function offer() {
    const box = form.querySelector("[data-draft-offer]");
    if (!box) return;
    const [newest] = keptTexts(url).filter(({ key }) => key !== own);
    box.hidden = !newest;
    if (!newest) return;
    if (same(newest.body, body())) {
      remove(newest.key);
      offer();
      return;
    }
    const words = box.querySelector("[data-draft-offer-words]");
    words.textContent = filled(words.dataset.text, { time: moment(newest.at) });
    box.querySelector("[data-draft-use]").onclick = () => {
      // What stands in the form is not lost either: it is offered next.
      if (!same(body(), {})) write(newKey(url), { at: Date.now(), body: body() });
      remove(newest.key);
      fill(form, newest.body);
      edited();
      offer();
    };
    box.querySelector("[data-draft-drop]").onclick = () => {
      remove(newest.key);
      offer();
    };
  }

  const control = ({ target }) => target.name && ["INPUT", "SELECT", "TEXTAREA"].includes(target.tagName);
  form.addEventListener("input", (event) => control(event) && edited());
  form.addEventListener("change", (event) => control(event) && edited());
  form.addEventListener("pairs:changed", edited);
  form.addEventListener("submit", () => {
    submitted = true;
    clearTimeout(timers.save);
    // Should the submit not arrive, the text is here; if it does, nothing is offered for long.
    if (edits !== saved) mirror();
    for (const { key, ...record } of keptTexts(url)) write(key, { ...record, submitted: true });
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) submitted = false; // back from the next page: the text goes on being saved
  });
  document.addEventListener("visibilitychange", () => {
    // Coming back is worth a try as well: the person may have logged in again in another tab.
    save({ leaving: document.visibilityState === "hidden" });
  });
  window.addEventListener("pagehide", () => save({ leaving: true }));
  window.addEventListener("online", () => save());
  window.addEventListener("beforeunload", (event) => {
    // Only where the text would be nowhere: storage is switched off or full, and the server has not answered.
    if (edits !== saved && !submitted && !mirror()) event.preventDefault();
  });

  offer();
  // On a slow line somebody may have written before this script arrived.
  if (fields(form).some(differs)) edited();
}

// ---- The form as values -------------------------------------------------------------------------------------------

function fields(form) {
  const unwanted = ["hidden", "file", "submit", "button", "reset", "password"];
  return [...form.elements].filter((field) => field.name && !field.disabled && !unwanted.includes(field.type));
}

/** {name: text}, or a list of texts where several fields, or choices, have one name. */
function collect(form) {
  const found = fields(form);
  const body = {};
  for (const field of found) {
    const many =
      field.type === "checkbox" ||
      field.type === "select-multiple" ||
      (field.type !== "radio" && found.filter((other) => other.name === field.name).length > 1);
    if (many) body[field.name] ??= [];
    const values = valuesOf(field);
    if (many) body[field.name].push(...values);
    else if (values.length) [body[field.name]] = values;
  }
  return body;
}

/** Is the field other than the page brought it? */
function differs(field) {
  if (field.type === "radio" || field.type === "checkbox") return field.checked !== field.defaultChecked;
  if (field.tagName !== "SELECT") return field.value !== field.defaultValue;
  const options = [...field.options];
  // Where none is marked the browser chooses the first one.
  if (!options.some((option) => option.defaultSelected)) return field.selectedIndex > 0;
  return options.some((option) => option.selected !== option.defaultSelected);
}

function valuesOf(field) {
  if (field.type === "radio" || field.type === "checkbox") return field.checked ? [field.value] : [];
  if (field.type === "select-multiple") return [...field.selectedOptions].map((option) => option.value);
  return [field.value];
}

function fill(form, body) {
  // Modules that make fields (pairs.js) make as many as there are texts.
  form.dispatchEvent(new CustomEvent("draft:restore", { detail: body }));
  const left = Object.fromEntries(Object.entries(body).map(([name, value]) => [name, [value].flat()]));
  for (const field of fields(form)) {
    const values = left[field.name] ?? [];
    if (field.type === "radio" || field.type === "checkbox") field.checked = values.includes(field.value);
    else if (field.type === "select-multiple") {
      for (const option of field.options) option.selected = values.includes(option.value);
    } else field.value = values.shift() ?? "";
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }
}

function same(one, other) {
  const plain = (body) =>
    JSON.stringify(
      Object.entries(body)
        .map(([name, value]) => [name, [value].flat().filter((text) => text !== "")])
        .filter(([, values]) => values.length)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  return plain(one) === plain(other);
}

// ---- The mirror ---------------------------------------------------------------------------------------------------

function newKey(url) {
  made += 1;
  return `${PREFIX}${url}#${Date.now()}.${made}`;
}

function keptTexts(url) {
  return keys()
    .filter((key) => key.startsWith(`${PREFIX}${url}#`))
    .map((key) => ({ key, ...read(key) }))
    .filter(({ body }) => body)
    .sort((one, other) => other.at - one.at);
}

function keys() {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  } catch {
    return []; // storage is switched off
  }
}

function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

function write(key, record) {
  try {
    localStorage.setItem(key, JSON.stringify(record));
    return true;
  } catch {
    return false;
  }
}

function remove(key) {
  try {
    localStorage.removeItem(key);
  } catch {
    // Storage is switched off: there is nothing to remove.
  }
}

// Text that was handed in, and text nobody came back for, does not stay on a machine that others may use.
function prune() {
  for (const key of keys()) {
    const record = read(key);
    if (!record || Date.now() - record.at > (record.submitted ? 1 : 30) * DAY) remove(key);
  }
}
