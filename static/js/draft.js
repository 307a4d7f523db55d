// Saves text during typing. Without this script only the form's buttons save it.
//
//   form[data-draft-url]        POST {"body": {field: text or [texts]}, "seen": version}; any 2xx acknowledges it, with the
//                               new "version", and as "unseen" the text that another window had saved since
//   form[data-draft-seen]       the version that the page shows, empty for none
//   [data-save-state]           in the form: shows the state of saving (templates/parts/save_state.html)
//   [data-draft-offer]          shown when there is text that the server does not have
//
// Until the server has acknowledged a text, this browser keeps a copy (mirror.js), so that a crash, a lost connection or
// an expired session loses nothing. A remaining copy is offered when the page is opened again, unless it equals the form.
// While a submitted answer waits to be sent (js/submit.js), no draft is saved.

import { filled, post } from "./http.js";
import { mirror, mirrors, newMirror, prune } from "./mirror.js";
import { remove } from "./storage.js";
import { moment } from "./times.js";
import { collect, differs, fields, fill, same } from "./values.js";

// ms: a draft is saved after a pause in the typing, and at the latest after the longer time.
const PAUSE = 1500;
const LONGEST = 4000; // drafts are saved within 5 s; this leaves a slow machine a second
const MIRROR_PAUSE = 300;
const MIRROR_LONGEST = 1000;
const RETRY = [5_000, 15_000, 30_000, 60_000];
const KEEPALIVE_BYTES = 60_000; // browsers refuse more than 64 kB in requests that outlive the page

for (const form of document.querySelectorAll("form[data-draft-url]")) watch(form);
prune();

function watch(form) {
  const url = form.dataset.draftUrl;
  const own = newMirror(url);
  const others = newMirror(url); // text of another window that this one has replaced
  const state = form.querySelector("[data-save-state]");
  const trouble = form.querySelector("[data-save-trouble]");
  const timers = {};
  const since = {}; // time of the first unsaved change
  let edits = 0; // number of changes
  let saved = 0; // the newest change that the server has
  let failures = 0;
  let seen = form.dataset.draftSeen;
  let sentLast = null;
  let sending = false;
  let submitted = form.hasAttribute("data-waits");

  const body = () => collect(form);
  const later = (name, pause, act) => {
    clearTimeout(timers[name]);
    timers[name] = setTimeout(act, pause);
  };
  const afterPause = (name, pause, longest, act) => {
    const now = performance.now();
    since[name] ??= now;
    later(name, Math.max(0, Math.min(pause, since[name] + longest - now)), act);
  };

  function show(name, values = {}) {
    if (!state) return;
    state.dataset.saveState = name.startsWith("kept") ? "kept" : name;
    const attribute = `text${name.replace(/(^|-)(\w)/g, (_match, _dash, letter) => letter.toUpperCase())}`;
    state.textContent = filled(state.dataset[attribute], values);
    // Screen readers announce only trouble: a "Saved" every few seconds would interrupt.
    const words = name.startsWith("kept") || name === "nowhere" ? state.textContent : "";
    if (trouble.textContent !== words) trouble.textContent = words;
  }

  function keep() {
    clearTimeout(timers.mirror);
    delete since.mirror;
    return mirror(own, body(), submitted);
  }

  function edited() {
    edits += 1;
    if (submitted) return;
    afterPause("mirror", MIRROR_PAUSE, MIRROR_LONGEST, keep);
    afterPause("save", PAUSE, LONGEST, save);
    if (state?.dataset.saveState === "saved") show("typing");
  }

  async function save({ leaving = false } = {}) {
    clearTimeout(timers.save);
    if (edits === saved || submitted || (sending && !leaving)) return;
    delete since.save;
    const kept = keep();
    const sent = edits;
    const text = body();
    const ours = [sentLast, text];
    sentLast = text;
    sending = true;
    show("saving");
    const keepalive = leaving && new Blob([JSON.stringify(text)]).size < KEEPALIVE_BYTES;
    const answer = await post(url, { body: text, seen }, { keepalive });
    sending = false;
    if (answer.outcome === "done") acknowledged(sent, answer.data, ours);
    else notSaved(answer, kept);
  }

  function acknowledged(sent, { version, unseen }, ours) {
    saved = Math.max(saved, sent);
    failures = 0;
    seen = version;
    if (submitted) return;
    // Not an empty form, and not text of this window whose request failed.
    if (unseen && ![{}, ...ours].some((text) => text && same(text, unseen))) {
      mirror(others, unseen, false, Date.now(), true);
      offer();
    }
    if (saved !== edits) {
      afterPause("save", PAUSE, LONGEST, save);
      return;
    }
    clearTimeout(timers.mirror);
    delete since.mirror;
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
    const [newest] = mirrors(url).filter(({ key }) => key !== own);
    box.hidden = !newest;
    if (!newest) return;
    if (same(newest.body, body())) {
      remove(newest.key);
      offer();
      return;
    }
    const words = box.querySelector("[data-draft-offer-words]");
    words.textContent = filled(newest.other ? words.dataset.textOther : words.dataset.text, { time: moment(newest.at) });
    // The second click of a double click was not meant for the text that is offered next.
    box.querySelector("[data-draft-use]").onclick = ({ detail }) => {
      if (detail > 1) return;
      // The form's text is kept, and offered next.
      if (!same(body(), {})) mirror(newMirror(url), body());
      remove(newest.key);
      fill(form, newest.body);
      edited();
      offer();
    };
    box.querySelector("[data-draft-drop]").onclick = ({ detail }) => {
      if (detail > 1) return;
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
    // Keep the text for a day, in case the submit does not arrive.
    if (edits !== saved) keep();
    for (const record of mirrors(url)) mirror(record.key, record.body, true, record.at);
  });
  form.addEventListener("submit:taken-back", () => {
    submitted = false;
    edited();
    offer();
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) submitted = false; // back from the next page: save again
  });
  document.addEventListener("visibilitychange", () => {
    // The person may have logged in again in another tab.
    save({ leaving: document.visibilityState === "hidden" });
  });
  window.addEventListener("pagehide", () => save({ leaving: true }));
  window.addEventListener("online", () => save());
  window.addEventListener("beforeunload", (event) => {
    // Warn only if the text would be lost: storage is off or full, and the server has not answered.
    if (edits !== saved && !submitted && !keep()) event.preventDefault();
  });

  if (submitted) return;
  offer();
  // On a slow connection people may have typed before this script loaded.
  if (fields(form).some(differs)) edited();
}
