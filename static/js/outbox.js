// Keeps submitted answers in this browser until the server has acknowledged them, so that neither a lost connection nor
// a closed browser loses one. A refused answer stays until the person discards it. Without this script forms are sent
// directly, and an answer that was sent without a connection must be sent again.
//
// An entry: {key, url, page, draft, name, person, at, then, active, body} and its outcome: `failed` ("offline",
// "logged-out"), `refused` (why), or `delivered`, without the text. Its key is the submit key of its form, by which the
// server recognises an answer that arrives twice.

import { post } from "./http.js";
import { forget } from "./mirror.js";
import { isMine, keys, read, remove, write } from "./storage.js";

const PREFIX = "annotate:outbox:";
const RETRY = [3_000, 10_000, 30_000, 60_000];
const DAY = 24 * 3600 * 1000;

const unkept = new Map(); // if storage is off or full: until this page closes

/** This person's entries, oldest first. */
export function entries() {
  const found = [...keys(PREFIX).map(read), ...unkept.values()];
  return found.filter((entry) => entry?.body && isMine(entry)).sort((one, other) => one.at - other.at);
}

/** The newest waiting answer of the form with that address. */
export function waitingFor(url) {
  return entries().findLast((entry) => entry.url === url && !entry.refused);
}

/** Stores an entry; false if only this page has it. */
export function keep(entry) {
  if (write(PREFIX + entry.key, entry)) return unkept.delete(entry.key) || true;
  unkept.set(entry.key, entry);
  return false;
}

export function drop(key) {
  unkept.delete(key);
  remove(PREFIX + key);
}

function find(key) {
  return read(PREFIX + key) ?? unkept.get(key) ?? null;
}

/**
 * Sends the answer. `stay`: nobody looks at its page, so do not claim the next task.
 * @returns as http.post, or one of the outcomes "busy" (another tab is sending it), "elsewhere" (another tab has
 *   delivered it) and "gone" (the person took it back)
 */
export async function deliver(key, { stay = false } = {}) {
  const answer = await alone(key, async () => {
    const entry = find(key);
    if (!entry || entry.refused) return { outcome: "gone" };
    if (entry.delivered) return { outcome: "elsewhere" };
    const answer = await send(entry, stay ? "stop" : entry.then);
    if (answer.outcome === "done") settle(entry, stay);
    else if (answer.outcome === "refused") keep({ ...entry, refused: answer.data.words || " " });
    else if (find(key)) keep({ ...entry, failed: answer.outcome });
    return answer;
  });
  return answer ?? { outcome: "busy" };
}

/** Sends a delivered answer again, to get its next task: the server responds as it did the first time. */
export function again(entry) {
  return send(entry, entry.then);
}

/** Takes an answer out of the outbox; false while it is being sent. */
export async function withdraw(key) {
  return (await alone(key, async () => drop(key) ?? true)) ?? false;
}

/** Removes an answer whose text and errors a page of the server shows. */
export function shown(key) {
  if (find(key)?.refused) drop(key);
}

async function send(entry, then) {
  const fields = Object.entries(entry.body).flatMap(([name, texts]) => texts.map((text) => [name, text]));
  const ofPage = { submit_key: entry.key, then, active: entry.active };
  const body = new URLSearchParams([...fields, ...Object.entries(ofPage).filter(([, text]) => text)]);
  const answer = await post(entry.url, body);
  // A success without a next address is not the server's: some networks answer with their own login page.
  return answer.outcome === "done" && !answer.data.next ? { ...answer, outcome: "offline" } : answer;
}

function settle(entry, stay) {
  forget(entry.draft, entry.body);
  drop(entry.key);
  // This answer replaces an older, refused one of the same task.
  for (const old of entries()) if (old.url === entry.url && old.refused) drop(old.key);
  // Tells the answer's page, which may be open in another tab.
  if (stay) write(PREFIX + entry.key, { key: entry.key, at: Date.now(), delivered: true });
}

/** Calls `act` when another tab has changed an entry; without a key, any entry. */
export function onChange(act, key = "") {
  window.addEventListener("storage", (event) => event.key?.startsWith(PREFIX + key) && act());
}

/** Prevents two tabs from sending one answer concurrently. Without locks (no TLS) they may; the key makes it harmless. */
function alone(key, act) {
  if (!navigator.locks) return act();
  return navigator.locks.request(PREFIX + key, { ifAvailable: true }, (lock) => (lock ? act() : null));
}

/**
 * Calls `act` now, then after growing pauses and whenever the connection may be back, until it returns true.
 * @returns a function that restarts this: "now"
 */
export function persist(act) {
  let failures = 0;
  let running = false;
  let hope = false;
  let timer;
  const go = async () => {
    clearTimeout(timer);
    hope = true; // also during an attempt, which may still fail
    if (running) return;
    running = true;
    let done = false;
    try {
      while (hope) {
        hope = false;
        done = await act();
      }
    } finally {
      running = false;
    }
    if (done) failures = 0;
    else {
      timer = setTimeout(go, RETRY[Math.min(failures, RETRY.length - 1)]);
      failures += 1;
    }
  };
  window.addEventListener("online", go);
  // The person may have logged in again in another tab.
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && go());
  go();
  return go;
}

for (const key of keys(PREFIX)) {
  const entry = read(key);
  if (!entry || (entry.delivered && Date.now() - entry.at > DAY)) remove(key);
}
