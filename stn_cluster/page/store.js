/** A value that components can watch. */

import { useEffect, useState } from "./lib.js";

/**
 * @template T
 * @typedef {{get: () => T, set: (next: T) => void, watch: (see: (now: T) => void) => () => void}} Value
 */

/**
 * Makes a value that tells its watchers when it changes.
 * @template T
 * @param {T} first
 * @returns {Value<T>}
 */
export function watched(first) {
  let now = first;
  const watchers = new Set();
  return {
    get: () => now,
    set(next) {
      if (Object.is(next, now)) return;
      now = next;
      for (const see of [...watchers]) see(now);
    },
    watch(see) {
      watchers.add(see);
      return () => watchers.delete(see);
    },
  };
}

/**
 * The value, and a new rendering whenever it changes.
 * @template T
 * @param {Value<T>} value
 * @returns {T}
 */
export function useValue(value) {
  const [now, setNow] = useState(value.get);
  useEffect(() => {
    setNow(() => value.get());
    return value.watch((next) => setNow(() => next));
  }, [value]);
  return now;
}
