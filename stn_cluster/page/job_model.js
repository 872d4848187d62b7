/** What a job's events say of its cells, by entry of the matrix; only what changes is made anew. */

import { useEffect, useRef, useState } from "./lib.js";
import { follow } from "./events.js";

/** Name of the matrix's entry that a cell belongs to. */
export const entryId = (names) => [names.dataset, names.recipe, names.model, names.transform, names.distortion].join("\u0000");

/**
 * @typedef {{counts: Record<string, number>, step: number, iterations: number, of: number}} Activity
 *   of an entry: its cells by state, steps done and to do of those that run, number of its cells
 */
export class JobModel {
  constructor() {
    /** @type {Map<string, any>} statuses by the cell's key */
    this.cells = new Map();
    /** @type {Map<string, Activity>} */
    this.entries = new Map();
    this.members = new Map();
    this.status = null;
    this.ended = 0; // how many cells have ended so far: the matrix has news when it grows
  }

  /** Takes in an event. */
  apply(status) {
    const touched = new Set();
    for (const cell of status.cells || []) {
      const key = cell.cell.key;
      const before = this.cells.get(key);
      if (!isOpen(cell.state) && (!before || isOpen(before.state))) this.ended += 1;
      this.cells.set(key, cell);
      if (cell.cell.tested_on !== null && cell.cell.tested_on !== undefined) continue;
      const id = entryId(cell.cell);
      if (!this.members.has(id)) this.members.set(id, new Map());
      this.members.get(id).set(key, cell);
      touched.add(id);
    }
    for (const id of touched) this.entries.set(id, activityOf(this.members.get(id).values()));
    this.status = { ...status, cells: [] };
  }
}

const isOpen = (state) => state === "queued" || state === "running";

function activityOf(cells) {
  const found = { counts: {}, step: 0, iterations: 0, of: 0 };
  for (const cell of cells) {
    found.of += 1;
    found.counts[cell.state] = (found.counts[cell.state] || 0) + 1;
    if (cell.state === "running") {
      found.step += cell.step;
      found.iterations += cell.cell.iterations;
    }
  }
  return found;
}

/**
 * An entry's cells by state, and the progress of those that run: the events know it first.
 * @returns {{counts: Record<string, number>, step: number, iterations: number}}
 */
export function progressOf(entry, activity) {
  if (!activity) return entry;
  if (activity.of >= entry.n_cells) return activity;
  const { queued = 0, running = 0 } = activity.counts;
  return { ...activity, counts: { ...entry.counts, ...(queued && { queued }), ...(running && { running }) } };
}

/**
 * Follows a job.
 * @param {string | null} jobId
 * @param {number} [turn] another one follows it anew: one that has ended may be queued again
 * @returns {{model: JobModel, version: number}} version: changes with the model
 */
export function useJob(jobId, turn = 0) {
  const model = useRef(new JobModel());
  const [version, setVersion] = useState(0);
  useEffect(() => {
    model.current = new JobModel();
    setVersion((n) => n + 1);
    if (!jobId) return undefined;
    return follow(jobId, (status) => {
      model.current.apply(status);
      setVersion((n) => n + 1);
    });
  }, [jobId, turn]);
  return { model: model.current, version };
}
