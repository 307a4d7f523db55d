// Answers on their way. Each stands in this browser from the moment it is handed in until the server has said that it
// has it, so neither a dead connection nor a closed browser loses it; what the server refuses stays until the person
// discards it. Without it a form is sent as forms are, and what is sent into a dead connection has to be sent again.
//
// An entry: {key, url, page, draft, name, person, at, then, active, body} and what came of it: `failed` ("offline",
// "logged-out"), `refused` (why), or `delivered`, without the text. Its key is the submit key of the form it comes
// from: the server takes an answer that arrives twice for what it is.

import { post } from "./http.js";
import { forget } from "./mirror.js";
import { isMine, keys, read, remove, write } from "./storage.js";

const PREFIX = "annotate:outbox:";
const RETRY = [3_000, 10_000, 30_000, 60_000];
const DAY = 24 * 3600 * 1000;

const unkept = new Map(); // where storage is off or full: for as long as this page is there

/** This person's entries, oldest first. */
export function entries() {
  const found = [...keys(PREFIX).map(read), ...unkept.values()];
  return found.filter((entry) => entry?.body && isMine(entry)).sort((one, other) => one.at - other.at);
}

/** The newest answer that waits to be handed in from the form with that address. */
export function waitingFor(url) {
  return entries().findLast((entry) => entry.url === url && !entry.refused);
}

/** Does the browser keep it, or only this page? */
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
 * Sends the answer once more. `stay`: nobody looks at its page, so no next task is taken.
 * @returns as http.post; besides, outcome "busy" (another tab is sending it), "elsewhere" (another tab has delivered
 *   it) or "gone" (somebody took it back)
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

/** An answer that was delivered, asked for its next task: the server answers as it did the first time. */
export function again(entry) {
  return send(entry, entry.then);
}

/** Back from the outbox; false while it is being sent. */
export async function withdraw(key) {
  return (await alone(key, async () => drop(key) ?? true)) ?? false;
}

/** A page of the server's shows this answer with what is wrong with it, and has its text. */
export function shown(key) {
  if (find(key)?.refused) drop(key);
}

async function send(entry, then) {
  const fields = Object.entries(entry.body).flatMap(([name, texts]) => texts.map((text) => [name, text]));
  const ofPage = { submit_key: entry.key, then, active: entry.active };
  const body = new URLSearchParams([...fields, ...Object.entries(ofPage).filter(([, text]) => text)]);
  const answer = await post(entry.url, body);
  // A success without a way on is not the server's: some networks answer everything with their own login page.
  return answer.outcome === "done" && !answer.data.next ? { ...answer, outcome: "offline" } : answer;
}

function settle(entry, stay) {
  forget(entry.draft, entry.body);
  drop(entry.key);
  // An older text of the same task that was refused has been put right by this one.
  for (const old of entries()) if (old.url === entry.url && old.refused) drop(old.key);
  // Its own page may be open in another tab, and learns it from this.
  if (stay) write(PREFIX + entry.key, { key: entry.key, at: Date.now(), delivered: true });
}

/** Calls `act` when another tab has changed an entry; without a key, any entry. */
export function onChange(act, key = "") {
  window.addEventListener("storage", (event) => event.key?.startsWith(PREFIX + key) && act());
}

/** Two tabs do not send the same at once. Without locks (no TLS) they may, and the key makes it harmless. */
function alone(key, act) {
  if (!navigator.locks) return act();
  return navigator.locks.request(PREFIX + key, { ifAvailable: true }, (lock) => (lock ? act() : null));
}

/**
 * Calls `act` now, then after growing pauses, and at once when there is hope, until it says that nothing is left to do.
 * @returns a function that does the same from the start: "now"
 */
export function persist(act) {
  let failures = 0;
  let running = false;
  let hope = false;
  let timer;
  const go = async () => {
    clearTimeout(timer);
    hope = true; // also while one is under way: what it meets may be over
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
  // Coming back is worth a try: the person may have logged in again in another tab.
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && go());
  go();
  return go;
}

for (const key of keys(PREFIX)) {
  const entry = read(key);
  if (!entry || (entry.delivered && Date.now() - entry.at > DAY)) remove(key);
}
