// Sends a POST to the server and classifies the outcome.

import { person } from "./storage.js";

const PATIENCE = 30_000; // ms until a silent server counts as offline

export function csrfToken() {
  // The cookie first: a login in another tab changes it. Under TLS its name has the prefix __Host-.
  const cookies = document.cookie.split("; ");
  const named = (name) => cookies.find((pair) => pair.startsWith(`${name}=`))?.split("=")[1];
  return named("__Host-csrftoken") ?? named("csrftoken") ?? document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";
}

/**
 * @returns {Promise<{outcome: "done"|"offline"|"logged-out"|"refused", status: number, data: object, text: string}>}
 *   data is the JSON of the answer ({} where it is none); "offline" also covers a server that is down.
 */
export async function post(url, body, { keepalive = false } = {}) {
  // The server refuses the request if somebody else has logged in meanwhile.
  const headers = { "X-CSRFToken": csrfToken(), Accept: "application/json, text/html" };
  if (person()) headers["X-Person"] = person();
  if (!(body instanceof URLSearchParams)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  let response;
  try {
    // Do not follow redirects: an expired session redirects to the login page, which would look like success.
    const signal = AbortSignal.timeout(PATIENCE);
    response = await fetch(url, { method: "POST", headers, body, keepalive, redirect: "manual", signal });
  } catch {
    return { outcome: "offline", status: 0, data: {}, text: "" };
  }
  const text = await response.text().catch(() => "");
  return { outcome: outcomeOf(response), status: response.status, data: parsed(text), text };
}

function outcomeOf({ ok, type, status }) {
  if (ok) return "done";
  // 403: the token belongs to an earlier login, or somebody else has logged in.
  if (type === "opaqueredirect" || status === 401 || status === 403) return "logged-out";
  return status >= 500 || status === 429 ? "offline" : "refused";
}

function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

/** Fills {name} in a sentence that a template translated. */
export function filled(sentence, values) {
  return (sentence ?? "").replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}
