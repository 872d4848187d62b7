/** The server's interface: JSON in and out, its errors as exceptions, its session. */

import { answered, notAnswered, setSignedOut } from "./connection.js";
import { keepKey, sessionHeaders } from "./session_key.js";

/** An error that the server answered, with the field of the request that was wrong. */
export class ApiError extends Error {
  /**
   * @param {number} status HTTP status; 0: there was no answer
   * @param {{code?: string, message?: string, field?: string | null}} problem
   */
  constructor(status, problem) {
    super(problem.message || `the server answered ${status}`);
    this.status = status;
    this.code = problem.code || "";
    this.field = problem.field || null;
  }
}

/** Address of a route, with or without its /v1. */
export const address = (path) => (path.startsWith("/v1/") ? path : `/v1${path}`);

/**
 * A request's response; of an error, an exception.
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<Response>}
 */
export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(address(path), { credentials: "same-origin", ...options, headers: { ...sessionHeaders(), ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    notAnswered();
    throw new ApiError(0, { message: "the server does not answer" });
  }
  answered();
  if (response.ok || response.status === 304) return response;
  if (response.status === 401) setSignedOut(true);
  throw new ApiError(response.status, await problemOf(response));
}

async function problemOf(response) {
  try {
    return (await response.json()).error || {};
  } catch {
    return {};
  }
}

async function send(method, path, body, options = {}) {
  const headers = { "Content-Type": "application/json" };
  const response = await request(path, { ...options, method, headers, body: JSON.stringify(body) });
  return response.status === 204 ? null : response.json();
}

/** @param {string} path @param {RequestInit} [options] */
export const getJson = async (path, options) => (await request(path, options)).json();
/** @param {string} path @param {unknown} [body] @param {RequestInit} [options] */
export const postJson = (path, body = {}, options) => send("POST", path, body, options);
/** @param {string} path @param {unknown} body @param {RequestInit} [options] */
export const putJson = (path, body, options) => send("PUT", path, body, options);

/** Trades a token for a session. */
export async function signIn(token) {
  const { key } = await postJson("/session", { token });
  keepKey(key);
  setSignedOut(false);
}

/** Saves an answer as a file: a plain link would come without the session's key. */
export async function save(path, name) {
  const made = URL.createObjectURL(await (await request(path)).blob());
  const link = document.createElement("a");
  Object.assign(link, { href: made, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(made), 60_000);
}

/** Signs in by the token of the page's address, which is taken out of it at once. */
export async function signInByAddress() {
  const fragment = window.location.hash;
  if (!fragment.startsWith("#t=")) return;
  window.history.replaceState(null, "", window.location.pathname);
  try {
    await signIn(decodeURIComponent(fragment.slice(3)));
  } catch {
    setSignedOut(true);
  }
}

/** A path with a query; values that are lists are repeated, null and "" are left out. */
export function withQuery(path, query) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") params.append(name, String(one));
    }
  }
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}
