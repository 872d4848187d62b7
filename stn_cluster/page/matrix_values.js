/** What an entry of the matrix shows under each switch: numbers, texts, steps of colour. */

import { duration, network, number, percent, probability, signed } from "./formats.js";

/**
 * @typedef {{distortion: string, counts: Record<string, number>, cells: {key: string, seed: number, state: string}[],
 *   n_cells: number, n_seeds: number, error: number | null, std: number | null, low: number | null, high: number | null,
 *   marked: boolean | null, p_best: number | null, reference: number | null, delta: number | null,
 *   beyond_reference: boolean | null, rank: number | null, train_seconds: number | null, n_test: number | null,
 *   by_severity: Record<string, number>, by_worst_of: Record<string, number>, step: number, iterations: number}} Entry
 * @typedef {{show: string, at: string, base: string}} Switches at: "", "s0.5" (severity), "w10" (worst of)
 */

/** Switches: what is shown of an entry. */
export const SHOWN = [
  ["error", "Error", "Test error in percent; in brackets its 95 % interval; ringed (°): cannot be told from the best of its column."],
  ["paper", "Less the paper's", "Our error less the one that the paper prints, in points; † more than chance and rounding make."],
  ["baseline", "Less a baseline", "Error less the one of the baseline's row in the same column, in points."],
  ["p", "p", "p of the test against the best of the column, corrected for all its comparisons."],
  ["time", "Time", "Mean time of training a cell."],
];
export const STEPS = 8; // of colour

/** Name of a row, as the address has it. */
export const rowName = (row) => network(row.model, row.transform);

/** Error of an entry at a severity, or as the worst of some draws. */
export function errorAt(entry, at) {
  if (!at) return entry.error;
  const values = at.startsWith("w") ? entry.by_worst_of : entry.by_severity;
  return values[at.slice(1)] ?? null;
}

/**
 * The number of an entry, or null.
 * @param {Entry} entry
 * @param {Entry | null} base entry of the baseline's row, in the same column
 * @param {Switches} switches
 */
export function valueOf(entry, base, { show, at }) {
  if (show === "paper") return entry.delta;
  if (show === "p") return entry.p_best;
  if (show === "time") return entry.train_seconds;
  const error = errorAt(entry, at);
  if (show !== "baseline") return error;
  const other = base && errorAt(base, at);
  return error === null || other === null || other === undefined ? null : error - other;
}

/** A number under a switch, as text. */
export function textOf(value, show) {
  if (show === "p") return probability(value);
  if (show === "time") return duration(value);
  return show === "error" ? number(value) : signed(value);
}

/** The second, small line of an entry. */
export function detailOf(entry, { show, at }) {
  if (show === "paper") return entry.reference === null ? "" : `paper: ${number(entry.reference, 1)}`;
  if (show === "time") return entry.n_seeds > 1 ? "mean of its seeds" : "";
  if (show !== "error" || at) return "";
  if (entry.low !== null && entry.high !== null) return `[${number(entry.low)}, ${number(entry.high)}]`;
  return entry.std === null ? "" : `± ${number(entry.std)}`;
}

/** Signs behind a number: ° cannot be told from the column's best; † beyond the paper's precision. */
export function marksOf(entry, { show, at }) {
  const ring = entry.marked && !at && (show === "error" || show === "p") ? "°" : "";
  return ring + (entry.beyond_reference && show === "paper" ? "†" : "");
}

/**
 * Steps of colour of a column's numbers, from 0 (smallest) to STEPS (largest).
 * @param {(number | null)[]} values
 * @returns {(value: number | null) => number | null}
 */
export function scaleOf(values) {
  const known = values.filter((value) => value !== null);
  const low = Math.min(...known);
  const range = Math.max(...known) - low;
  return (value) => {
    if (value === null || known.length < 2) return null;
    return range > 0 ? Math.round(((value - low) / range) * STEPS) : 0;
  };
}

/** What a screen reader says of an entry. */
export function spoken(row, entry, text, switches) {
  const parts = [`${rowName(row)} on ${entry.distortion}`];
  if (switches.show === "error") parts.push(text === "–" ? "no error yet" : `error ${text} %`);
  else parts.push(`${SHOWN.find(([id]) => id === switches.show)[1]}: ${text}`);
  if (entry.low !== null && switches.show === "error" && !switches.at) parts.push(`interval from ${percent(entry.low)} to ${percent(entry.high)}`);
  if (marksOf(entry, switches).includes("°")) parts.push("cannot be told from the best of its column");
  const open = Object.entries(entry.counts).filter(([state]) => state !== "succeeded").map(([state, n]) => `${n} ${state}`);
  return [...parts, ...open].join(", ");
}

/** Mean of numbers, or null unless all are known. */
export const meanOf = (values) =>
  values.length && values.every((value) => value !== null) ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
