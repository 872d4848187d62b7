/** Lists of many rows of one height, of which only those in sight are drawn. */

import { html, useLayoutEffect, useRef, useState } from "./lib.js";

const BEYOND = 10; // rows above and below the visible ones

/**
 * Which rows of a list can be seen.
 * @param {number} top scrolled, in pixels
 * @param {number} height of the window, in pixels
 * @param {number} row height of a row, in pixels
 * @param {number} rows
 * @returns {[number, number]} the first, and the one after the last
 */
export function inSight(top, height, row, rows) {
  const first = Math.max(0, Math.floor(top / row) - BEYOND);
  return [Math.min(first, rows), Math.min(rows, Math.ceil((top + height) / row) + BEYOND)];
}

/**
 * A scrolling box of rows.
 * @param {{rows: number, height: number, draw: (index: number) => any, label: string, className?: string, follow?: boolean, at?: number}} options
 *   height: of a row, in pixels; draw: a row's content; follow: keeps to the end; at: a row to
 *   scroll to
 */
export function VirtualList({ rows, height, draw, label, className = "", follow = false, at }) {
  const box = useRef(null);
  const [sight, setSight] = useState([0, Math.min(rows, 60)]);
  const look = () => {
    const element = box.current;
    if (!element) return;
    const next = inSight(element.scrollTop, element.clientHeight, height, rows);
    setSight((old) => (old[0] === next[0] && old[1] === next[1] ? old : next));
  };
  useLayoutEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
    look();
  }, [rows, height, follow]);
  useLayoutEffect(() => {
    if (at !== undefined && at >= 0 && box.current) {
      box.current.scrollTop = Math.max(0, at * height - box.current.clientHeight / 2);
      look();
    }
  }, [at]);
  const shown = [];
  for (let index = sight[0]; index < Math.min(sight[1], rows); index += 1) {
    shown.push(html`<div key=${index} class="virtual-row" style=${{ transform: `translateY(${index * height}px)`, height: `${height}px` }}>${draw(index)}</div>`);
  }
  return html`<div ref=${box} class=${`virtual ${className}`} tabindex="0" role="region" aria-label=${label} onScroll=${look}>
    <div class="virtual-space" style=${{ height: `${rows * height}px` }}>${shown}</div></div>`;
}
