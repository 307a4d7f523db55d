// What this browser keeps by itself. Where storage is switched off or full it keeps nothing, and says so.

export function keys(prefix) {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  } catch {
    return []; // storage is switched off
  }
}

export function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

/** Is it kept? */
export function write(key, record) {
  try {
    localStorage.setItem(key, JSON.stringify(record));
    return true;
  } catch {
    return false;
  }
}

export function remove(key) {
  try {
    localStorage.removeItem(key);
  } catch {
    // Storage is switched off: there is nothing to remove.
  }
}

/** Several people may use one browser: what one of them left in it is nobody else's. */
export function isMine(record) {
  return record.person === person();
}

export function person() {
  return document.body.dataset.person ?? "";
}
