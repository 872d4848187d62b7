/** The page's address: its fragment names the view, its filters and switches. */

import { useEffect, useMemo } from "./lib.js";
import { withQuery } from "./api.js";
import { useValue, watched } from "./store.js";

/** A token in the fragment is no address of a view, and never becomes part of one. */
const shown = () => (window.location.hash.startsWith("#t=") ? "" : window.location.hash);
const fragment = watched(shown());
window.addEventListener("hashchange", () => fragment.set(shown()));

/**
 * @typedef {{view: string, rest: string, query: URLSearchParams}} Route
 * @param {string} hash
 * @returns {Route}
 */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view, ...rest] = path.split("/");
  return { view, rest: decode(rest.join("/")), query: new URLSearchParams(query) };
}

const decode = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone %, typed by hand
  }
};

/** The present route. */
export function useRoute() {
  const hash = useValue(fragment);
  return useMemo(() => parse(hash), [hash]);
}

/** The present route, outside of components. */
export const currentRoute = () => parse(fragment.get());

/** Address of a view. */
export const to = (path, query = {}) => `#/${withQuery(path, query)}`;

/** Opens a view. */
export const open = (path, query) => {
  window.location.hash = to(path, query);
};

/** Changes what the address says of the present view; does not add to the history. */
export function adjust(changes) {
  const { view, rest, query } = currentRoute();
  const next = {};
  for (const name of query.keys()) next[name] = query.getAll(name);
  Object.assign(next, changes);
  const hash = to(rest ? `${view}/${encodeURIComponent(rest)}` : view, next);
  window.history.replaceState(null, "", hash);
  fragment.set(hash);
}

/** Sets the window's title. */
export function useTitle(title) {
  useEffect(() => {
    document.title = title ? `${title} · stn-cluster` : "stn-cluster";
  }, [title]);
}
