// Copies of what is typed, kept in this browser until the server has acknowledged the text.
//
// Each opening of a page has a mirror of its own, so tabs do not overwrite each other. What is left of one is text that
// the server may lack. No clocks are compared, because the browser's and the server's differ.

import { isMine, keys, person, read, remove, write } from "./storage.js";
import { same } from "./values.js";

const PREFIX = "annotate:draft:";
const DAY = 24 * 3600 * 1000;

let made = 0; // mirrors of this page

export function newMirror(url) {
  made += 1;
  return `${PREFIX}${url}#${Date.now()}.${made}`;
}

/** Is it kept? other: it was written in another window. */
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

/** The server has this text: its copies go. */
export function forget(url, body) {
  for (const record of mirrors(url)) if (same(record.body, body)) remove(record.key);
}

// Text that was handed in, and text nobody came back for, does not stay on a machine that others may use.
export function prune() {
  for (const key of keys(PREFIX)) {
    const record = read(key);
    if (!record || Date.now() - record.at > (record.submitted ? 1 : 30) * DAY) remove(key);
  }
}
