// localStorage that may be switched off or full: reads then return nothing, and writes return false.

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

/** Stores a record; false if that fails. */
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

/** Whether the record belongs to this person: several people may use one browser. */
export function isMine(record) {
  return record.person === person();
}

export function person() {
  return document.body.dataset.person ?? "";
}
