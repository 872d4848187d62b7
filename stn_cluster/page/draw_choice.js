/** Which networks answer to a drawing: all rows of one distortion, of one seed, until one chooses others. */

import { html } from "./lib.js";
import { counted, network } from "./formats.js";
import { Command, Select } from "./parts.js";
import { adjust } from "./router.js";

const MOST = 32; // networks at once
const ALL = "all";

/**
 * What the address chooses of what there is.
 * @param {{datasets: any[], cells: any[]}} what
 * @param {URLSearchParams} query dataset, recipe, distortion, seed; without: networks that are left out
 * @returns {{dataset: any, fields: any[], rows: string[], without: string[], cells: any[], absent: any[], more: number}}
 */
export function choiceOf({ datasets, cells }, query) {
  const fields = [];
  let left = cells.some((cell) => cell.weights) ? cells : [];
  const present = cells.filter((cell) => cell.weights);
  const narrow = (name, label, all, first) => {
    const values = distinct(left.map((cell) => String(cell[name])));
    const known = distinct(left.filter((cell) => cell.weights).map((cell) => String(cell[name])));
    const asked = query.get(name);
    const value = values.includes(asked) || (all && asked === ALL) ? asked : first(known.length ? known : values);
    const options = values.map((one) => [one, one]);
    fields.push({ name, label, value, options: all && values.length > 1 ? [...options, [ALL, "all"]] : options });
    if (value !== ALL) left = left.filter((cell) => String(cell[name]) === value);
    return value;
  };
  if (!present.length) return { dataset: cells.length ? datasets[0] : null, fields, rows: [], without: [], cells: [], absent: cells, more: 0 };
  const name = narrow("dataset", "Data set", false, (values) => values[0]);
  narrow("recipe", "Recipe", false, (values) => values[0]);
  narrow("distortion", "Trained on", true, (values) => values.find((one) => one.split(":")[0] === "RTS") || values[0]);
  narrow("seed", "Seed", true, (values) => [...values].sort((a, b) => Number(a) - Number(b))[0]);
  const rows = distinct(left.map(rowOf));
  const without = query.getAll("without").filter((row) => rows.includes(row));
  const wanted = left.filter((cell) => !without.includes(rowOf(cell)));
  const usable = wanted.filter((cell) => cell.weights);
  return {
    dataset: datasets.find((one) => one.name === name),
    fields,
    rows,
    without,
    cells: usable.slice(0, MOST),
    absent: wanted.filter((cell) => !cell.weights),
    more: Math.max(0, usable.length - MOST),
  };
}

const distinct = (values) => [...new Set(values)];
const rowOf = (cell) => network(cell.model, cell.transform);

/** Switches for what is chosen; the address holds them. */
export function Choice({ choice }) {
  const { fields, rows, without, cells, more } = choice;
  const change = (row, on) => adjust({ without: on ? without.filter((one) => one !== row) : [...without, row] });
  return html`<div class="controls">
    ${fields.filter((field) => field.options.length > 1).map((field) => html`<${Select} key=${field.name} label=${field.label} options=${field.options} value=${field.value} onChange=${(value) => adjust({ [field.name]: value, without: null })} />`)}
    ${rows.length > 1 && html`<details class="menu"><summary>networks: <strong>${without.length ? `${rows.length - without.length} of ${rows.length}` : "all"}</strong></summary>
      <div class="menu-box">${rows.map((row) => html`<label key=${row}><input type="checkbox" checked=${!without.includes(row)} onChange=${(event) => change(row, event.currentTarget.checked)} /> <bdi>${row}</bdi></label>`)}</div></details>`}
    <span class="note">${more > 0 ? `the first ${cells.length} of ${cells.length + more} networks answer` : `${counted(cells.length, "network")} ${cells.length === 1 ? "answers" : "answer"}`}</span>
  </div>`;
}

/** Cells whose weights are not in the store, with the commands that train them. */
export function NotHere({ cells }) {
  if (!cells.length) return null;
  const shown = cells.slice(0, MOST);
  return html`<details class="not-here"><summary>${counted(cells.length, "network")} without weights here</summary>
    <p class="note">These were trained, but their weights are not in this store. Each command trains one again.</p>
    ${shown.map((cell) => html`<div key=${cell.key}><p><bdi>${cell.label}</bdi> <span class="soft"><bdi>${cell.dataset}</bdi></span></p><${Command} text=${cell.repeat} /></div>`)}
    ${cells.length > shown.length && html`<p class="note">and ${cells.length - shown.length} more</p>`}</details>`;
}
