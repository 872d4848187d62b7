/** Whether the server answers: said on top of the page, and found again by itself. */

import { html, useEffect, useState } from "./lib.js";
import { useValue, watched } from "./store.js";

const LONGEST_WAIT = 10; // seconds

/**
 * lost: since when the server has not answered (ms), or null; trouble: a line of a server that
 * answers and cannot do its work, or null; signedOut: a token is needed; found: how often the
 * server was found again.
 */
export const connection = watched({ lost: null, trouble: null, signedOut: false, found: 0 });

const change = (fields) => connection.set({ ...connection.get(), ...fields });

/** A request was answered. */
export function answered() {
  const now = connection.get();
  if (now.lost !== null) change({ lost: null, found: now.found + 1 });
}

/** A request got no answer: asks for the server's health until there is one. */
export function notAnswered() {
  if (connection.get().lost !== null) return;
  change({ lost: Date.now() });
  let wait = 1;
  const ask = async () => {
    if (connection.get().lost === null) return;
    try {
      const response = await fetch("/v1/health", { cache: "no-store", signal: AbortSignal.timeout(8000) });
      if (response.ok) return answered();
    } catch { /* still away */ }
    wait = Math.min(wait * 2, LONGEST_WAIT);
    setTimeout(ask, wait * 1000);
  };
  setTimeout(ask, wait * 1000);
}

/** @param {boolean} needed whether the server wants a token */
export const setSignedOut = (needed) => {
  if (connection.get().signedOut !== needed) change({ signedOut: needed });
};

/** @param {string | null} trouble */
export const setTrouble = (trouble) => {
  if (connection.get().trouble !== trouble) change({ trouble });
};

/** The bar on top, if there is something to say. */
export function ConnectionBar() {
  const { lost, trouble } = useValue(connection);
  const [, tick] = useState(0);
  useEffect(() => {
    if (lost === null) return undefined;
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [lost]);
  const seconds = lost === null ? 0 : Math.round((Date.now() - lost) / 1000);
  return html`<div class="connection" role="status" aria-live="polite">
    ${lost !== null && html`<p class="bar lost"><strong>The server does not answer.</strong> ${" "}
      What you see may be old; this page asks again by itself. <span aria-hidden="true">${seconds} s</span></p>`}
    ${lost === null && trouble && html`<p class="bar trouble"><strong>The service has trouble:</strong> ${trouble}</p>`}
  </div>`;
}
