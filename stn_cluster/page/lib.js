/** What all modules of the page build with: Preact, its hooks, and `html` templates. */

import { Component, Fragment, createRef, h, render } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export {
  useCallback, useEffect, useErrorBoundary, useId, useLayoutEffect, useMemo, useReducer, useRef,
  useState,
} from "./vendor/hooks.js";
export { Component, Fragment, createRef, h, render };

/** Template of elements; whatever is put into it is text, never markup. */
export const html = htm.bind(h);
