/** The session's key, which requests must have beside its cookie: browsers keep it for this port alone. */

const KEY = "stn-cluster-session";
let own = null; // of a browser that keeps nothing: as long as the page

/** Headers of a request. */
export function sessionHeaders() {
  let key = own;
  try {
    key = window.localStorage.getItem(KEY) || own;
  } catch { /* it keeps nothing */ }
  return key ? { "STN-Cluster-Session": key } : {};
}

/** @param {string | null} key null: the server needs none */
export function keepKey(key) {
  own = key;
  try {
    if (key) window.localStorage.setItem(KEY, key);
    else window.localStorage.removeItem(KEY);
  } catch { /* it keeps nothing */ }
}
