// Keeps copies of typed text in this browser until the server has acknowledged the text.
//
// Each opening of a page has its own copy, so tabs do not overwrite each other. A copy that remains is text that the
// server may lack. Copies are not compared by time, because the clocks of browser and server differ.

import { isMine, keys, person, read, remove, write } from "./storage.js";
import { same } from "./values.js";

const PREFIX = "annotate:draft:";
const DAY = 24 * 3600 * 1000;

let made = 0; // mirrors of this page

export function newMirror(url) {
  made += 1;
  return `${PREFIX}${url}#${Date.now()}.${made}`;
}

/** Stores a copy; false if that fails. `other`: the text was written in another window. */
export function mirror(key, body, submitted = false, at = Date.now(), other = false) {
  return write(key, { at, person: person(), body, submitted, other });
}

/** This person's copies of the text with that address, newest first. */
export function mirrors(url) {
  return keys(`${PREFIX}${url}#`)
    .map((key) => ({ key, ...read(key) }))
    .filter((record) => record.body && isMine(record))
    .sort((one, other) => other.at - one.at);
}

/** Removes the copies of a text that the server has. */
export function forget(url, body) {
  for (const record of mirrors(url)) if (same(record.body, body)) remove(record.key);
}

// Removes submitted text after a day and other text after 30 days, because others may use this machine.
export function prune() {
  for (const key of keys(PREFIX)) {
    const record = read(key);
    if (!record || Date.now() - record.at > (record.submitted ? 1 : 30) * DAY) remove(key);
  }
}
