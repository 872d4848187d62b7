/** One entry of the matrix. */

import { html } from "./lib.js";
import { detailOf, marksOf, spoken, textOf } from "./matrix_values.js";
import { progressOf } from "./job_model.js";
import { count } from "./formats.js";

const OPEN = ["running", "queued", "failed", "cancelled", "missing"];

/**
 * @param {{row: any, entry: import("./matrix_values.js").Entry, activity: any, value: number | null, step: number | null,
 *   switches: any, chosen: string, rerun: boolean, at: [number, number]}} props
 *   step: of colour; chosen: "", "A" or "B"; rerun: whether it can be trained again; at: row, column
 */
export function MatrixEntry({ row, entry, activity, value, step, switches, chosen, rerun, at }) {
  const { counts, step: done, iterations } = progressOf(entry, activity);
  const text = textOf(value, switches.show);
  const marks = marksOf(entry, switches);
  const shownCounts = { ...entry, counts };
  const open = OPEN.filter((state) => counts[state] > 0 && !(entry.n_cells === 1 && state === "missing"));
  const kind = [
    "entry", step === null ? "" : `heat-${step}`, marks.includes("°") ? "ring" : "", entry.rank === 1 ? "best" : "",
  ].join(" ");
  return html`<td class=${kind} data-chosen=${chosen || undefined}>
    <button type="button" class="entry-open" data-at=${at.join(" ")} aria-label=${spoken(row, shownCounts, text, switches)}>
      <span class="value">${value === null ? placeholder(counts) : text}${marks && html`<sup>${marks}</sup>`}</span>
      <span class="detail">${open.length ? open.map((state) => html`<span key=${state} class=${`word is-${state}`}>${wordOf(state, counts[state], entry.n_cells, done, iterations)}</span>`) : detailOf(entry, switches)}</span>
      ${iterations > 0 && html`<progress max=${iterations} value=${done} aria-hidden="true"></progress>`}
    </button>
    ${rerun && html`<button type="button" class="again" data-again=${at.join(" ")} tabindex="-1" title="Train again (R)" aria-label="Train again">↻</button>`}
  </td>`;
}

const placeholder = (counts) => (counts.running ? "" : counts.queued ? "" : counts.failed ? "" : "–");

function wordOf(state, n, cells, done, iterations) {
  if (state === "running" && iterations > 0) return `${cells > 1 ? `${count(n)} running, ` : ""}${Math.floor((100 * done) / iterations)} %`;
  return cells > 1 ? `${count(n)} ${state}` : state;
}
