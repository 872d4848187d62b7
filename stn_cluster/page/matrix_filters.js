/** Filters and switches of the matrix, which the address holds. */

import { html, useRef } from "./lib.js";
import { Select, Switch } from "./parts.js";
import { adjust } from "./router.js";
import { SHOWN } from "./matrix_values.js";
import { network } from "./formats.js";

/** Fields of a cell that the matrix is filtered by. */
export const FILTERS = ["dataset", "recipe", "model", "transform", "distortion"];

/** Filters of an address. */
export const filtersOf = (query) => Object.fromEntries([...FILTERS, "seed"].map((name) => [name, query.getAll(name)]));

/** Switches of an address. */
export const switchesOf = (query) => ({ show: SHOWN.some(([id]) => id === query.get("show")) ? query.get("show") : "error", at: query.get("at") || "", base: query.get("base") || "" });

/** Values of each field that were ever seen, in their order. */
export function useSeen(matrices, filters) {
  const seen = useRef(Object.fromEntries(FILTERS.map((name) => [name, new Set()])));
  for (const name of FILTERS) for (const value of filters[name]) seen.current[name].add(value);
  for (const matrix of matrices) {
    seen.current.dataset.add(matrix.dataset);
    seen.current.recipe.add(matrix.recipe);
    for (const row of matrix.rows) {
      seen.current.model.add(row.model);
      seen.current.transform.add(row.transform);
    }
    for (const column of matrix.columns) seen.current.distortion.add(column);
  }
  return seen.current;
}

/** The filters: a menu for each field that has several values. */
export function Filters({ seen, filters }) {
  const shown = FILTERS.filter((name) => seen[name].size > 1 || filters[name].length);
  const set = FILTERS.some((name) => filters[name].length > 0) || filters.seed.length > 0;
  return html`<div class="filters" role="group" aria-label="Filters">
    ${shown.map((name) => html`<${Menu} key=${name} name=${name} values=${[...seen[name]]} chosen=${filters[name]} />`)}
    ${set && html`<button type="button" class="link" onClick=${() => adjust(Object.fromEntries([...FILTERS, "seed"].map((name) => [name, null])))}>Show all</button>`}
  </div>`;
}

function Menu({ name, values, chosen }) {
  const label = { dataset: "data set" }[name] || name;
  const change = (value, on) => adjust({ [name]: on ? [...chosen, value] : chosen.filter((one) => one !== value) });
  return html`<details class="menu"><summary>${label}: <strong><bdi>${chosen.length ? chosen.join(", ") : "all"}</bdi></strong></summary>
    <div class="menu-box">${values.map((value) => html`<label key=${value}><input type="checkbox" checked=${chosen.includes(value)} onChange=${(event) => change(value, event.currentTarget.checked)} /> <bdi>${value}</bdi></label>`)}</div>
  </details>`;
}

/** The switches: what is shown, of which severity, less which baseline. */
export function Switches({ switches, matrices }) {
  const severities = [...new Set(matrices.flatMap((matrix) => matrix.severities))].sort((a, b) => a - b);
  const draws = [...new Set(matrices.flatMap((matrix) => matrix.worst_of))].sort((a, b) => a - b);
  const rows = [...new Set(matrices.flatMap((matrix) => matrix.rows.map((row) => network(row.model, row.transform))))];
  const at = [["", "own test set"], ...severities.map((value) => [`s${value}`, `severity ${value}`]), ...draws.map((k) => [`w${k}`, `worst of ${k}`])];
  const usesError = switches.show === "error" || switches.show === "baseline";
  return html`<div class="switches">
    <${Switch} label="What is shown" options=${SHOWN} value=${switches.show} onChange=${(show) => adjust({ show: show === "error" ? null : show })} />
    ${at.length > 1 && usesError && html`<${Select} label="On" options=${at} value=${switches.at} onChange=${(value) => adjust({ at: value })} />`}
    ${switches.show === "baseline" && html`<${Select} label="Baseline" options=${[["", "click a row, or choose"], ...rows.map((name) => [name, name])]} value=${switches.base} onChange=${(base) => adjust({ base })} />`}
  </div>`;
}
