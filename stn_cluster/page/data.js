/** Data of the server for components: loaded, kept up to date, with its errors. */

import { useCallback, useEffect, useRef, useState } from "./lib.js";
import { ApiError, request } from "./api.js";
import { connection } from "./connection.js";
import { useValue } from "./store.js";

/**
 * @typedef {{data: any, error: ApiError | null, loading: boolean, reload: () => void}} Loaded
 */

/**
 * Loads JSON, again whenever the server was found again, and every some seconds if wanted.
 * An answer that has not changed (304) changes nothing.
 * @param {string | null} path null: nothing is loaded
 * @param {{every?: number | ((data: any) => number), merge?: (old: any, next: any) => any}} [options]
 *   every: seconds, or what they are by the data; 0: once
 * @returns {Loaded}
 */
export function useData(path, { every = 0, merge = shared } = {}) {
  const [state, setState] = useState({ path, data: null, error: null, loading: path !== null });
  const { found, signedOut } = useValue(connection);
  const tag = useRef(null);
  const [turn, setTurn] = useState(0);
  const reload = useCallback(() => setTurn((n) => n + 1), []);

  useEffect(() => {
    if (path === null) return undefined;
    const stop = new AbortController();
    let timer;
    let pause = typeof every === "function" ? 0 : every;
    let known = tag.current && tag.current.path === path ? tag.current.etag : null;
    if (known === null) setState((old) => (old.path === path ? old : { path, data: null, error: null, loading: true }));
    const load = async () => {
      try {
        const headers = known ? { "If-None-Match": known } : {};
        const response = await request(path, { headers, signal: stop.signal });
        if (response.status !== 304) {
          const next = await response.json();
          known = response.headers.get("ETag");
          tag.current = { path, etag: known };
          if (typeof every === "function") pause = every(next);
          setState((old) => ({
            path,
            data: old.data ? merge(old.data, next) : next,
            error: null,
            loading: false,
          }));
        } else {
          setState((old) => (old.error ? { ...old, error: null } : old));
        }
      } catch (error) {
        if (stop.signal.aborted) return;
        const shown = error instanceof ApiError ? error : new ApiError(0, { message: String(error) });
        setState((old) => ({ ...old, path, error: shown, loading: false }));
      }
      if (pause && !stop.signal.aborted) timer = setTimeout(again, pause * 1000);
    };
    const again = () => {
      if (document.hidden || connection.get().lost !== null) timer = setTimeout(again, 1000);
      else load();
    };
    load();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [path, typeof every === "function" ? null : every, turn, found, signedOut]);

  if (state.path !== path) return { data: null, error: null, loading: path !== null, reload };
  return { ...state, reload };
}

/**
 * A value like `next` that shares all parts that are equal with `old`, so that what has not
 * changed is not drawn again.
 */
export function shared(old, next) {
  if (Object.is(old, next)) return old;
  if (typeof old !== "object" || typeof next !== "object" || !old || !next) return next;
  if (Array.isArray(old) !== Array.isArray(next)) return next;
  const names = Object.keys(next);
  let same = names.length === Object.keys(old).length;
  for (const name of names) {
    next[name] = shared(old[name], next[name]);
    if (next[name] !== old[name]) same = false;
  }
  return same ? old : next;
}
