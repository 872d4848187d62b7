/** How networks stand up to distortions of other strength, and to those that they never saw. */

import { html, useMemo, useState } from "./lib.js";
import { useData } from "./data.js";
import { network, number, percent } from "./formats.js";
import { scaleOf } from "./matrix_values.js";
import { Command, Empty, Heading, Select, notYet } from "./parts.js";
import { Plot } from "./plot.js";
import { adjust, useTitle } from "./router.js";

export function RobustnessPage({ page, route }) {
  useTitle("Robustness");
  const loaded = useData("/robustness?format=json");
  const rows = loaded.data || [];
  const problem = notYet(loaded, "evaluations");
  const groups = useMemo(() => groupsOf(rows), [rows]);
  const chosen = groups.find((one) => one.id === route.query.get("of")) || groups[0];
  return html`<${Heading}>Robustness</${Heading}>
    ${problem || (!groups.length ? html`<${Empty} title="No network here was tested on other distortions."><p>This tests those whose weights the store has:</p><${Command} text=${`stn-cluster evaluate CONFIG --store ${page.store}`} /></${Empty}>`
    : html`${groups.length > 1 && html`<${Select} label="Trained on" options=${groups.map((one) => [one.id, one.id])} value=${chosen.id} onChange=${(of) => adjust({ of })} />`}
      <${Severities} rows=${chosen.rows} /><${Draws} rows=${chosen.rows} /><${Transfer} rows=${chosen.rows} />`)}`;
}

/** Rows by the data set and the recipe of the training. */
function groupsOf(rows) {
  const groups = new Map();
  for (const row of rows) {
    const id = `${row.trained_dataset}, ${row.recipe}`;
    if (!groups.has(id)) groups.set(id, []);
    groups.get(id).push(row);
  }
  return [...groups].map(([id, own]) => ({ id, rows: own }));
}

const isOwn = (row) => row.trained_on === row.on && row.dataset === row.trained_dataset && row.test_error_mean !== null;
const unique = (values) => [...new Set(values)];

/** Curves of each network over one field, for each distortion that networks were trained on. */
function curvesOf(rows, field) {
  return unique(rows.map((row) => row.trained_on)).map((on) => {
    const own = rows.filter((row) => row.trained_on === on);
    const x = unique(own.map((row) => row[field])).sort((a, b) => a - b);
    const names = unique(own.map((row) => network(row.model, row.transform)));
    const series = names.map((label) => {
      const found = new Map(own.filter((row) => network(row.model, row.transform) === label).map((row) => [row[field], row.test_error_mean]));
      return { label, values: x.map((value) => found.get(value) ?? null), points: true };
    });
    return { on, x, series };
  }).filter((one) => one.x.length > 1);
}

function Charts({ title, note, curves, xLabel }) {
  const [table, setTable] = useState(false);
  if (!curves.length) return null;
  return html`<section><h2>${title} <button type="button" class="link" onClick=${() => setTable(!table)}>${table ? "Show curves" : "Show numbers"}</button></h2><p class="note">${note}</p>
    <div class="charts">${curves.map(({ on, x, series }) => html`<div key=${on}><h3><bdi>${on}</bdi></h3>
      ${table ? html`<div class="scroll" tabindex="0" role="region" aria-label=${`${title}, ${on}`}><table class="plot-table"><thead><tr><th scope="col">${xLabel}</th>${x.map((value) => html`<th key=${value} scope="col" class="number">${value}</th>`)}</tr></thead>
        <tbody>${series.map((one) => html`<tr key=${one.label}><th scope="row"><bdi>${one.label}</bdi></th>${one.values.map((value, index) => html`<td key=${index} class="number">${number(value)}</td>`)}</tr>`)}</tbody></table></div>`
      : html`<${Plot} x=${x} series=${series} xLabel=${xLabel} yLabel="test error in %" format=${(value) => percent(value)} label=${`Test error of ${series.length} networks by ${xLabel}, on ${on}; the numbers are one click away`} />`}</div>`)}</div></section>`;
}

function Severities({ rows }) {
  const curves = useMemo(() => curvesOf(rows.filter((row) => isOwn(row) && row.worst_of === 1), "severity"), [rows]);
  return html`<${Charts} title="Severity" note="Severity 1 is the distortion as it was trained on; 0 leaves images as they are." curves=${curves} xLabel="severity" />`;
}

function Draws({ rows }) {
  const curves = useMemo(() => curvesOf(rows.filter((row) => isOwn(row) && row.severity === 1), "worst_of"), [rows]);
  return html`<${Charts} title="The worst of several draws" note="An image counts as wrong if any of so many random draws of the distortion is." curves=${curves} xLabel="worst of" />`;
}

/** Errors by what was trained on (down) and tested on (across), of one network at a time. */
function Transfer({ rows }) {
  const [name, setName] = useState("");
  const shown = rows.filter((row) => row.worst_of === 1 && (row.severity === 1 || row.on === "clean"));
  const names = unique(shown.map((row) => network(row.model, row.transform)));
  const now = names.includes(name) ? name : names[names.length - 1];
  const own = shown.filter((row) => network(row.model, row.transform) === now);
  const label = (row) => (row.dataset === row.trained_dataset ? row.on : `${row.dataset} ${row.on}`);
  const columns = unique(own.map(label));
  const trained = unique(own.map((row) => row.trained_on));
  const error = (on, column) => own.find((row) => row.trained_on === on && label(row) === column)?.test_error_mean ?? null;
  const scales = columns.map((column) => scaleOf(trained.map((on) => error(on, column))));
  if (columns.length < 2) return null;
  return html`<section><h2>Transfer</h2><p class="note">Trained on one distortion, tested on another; test error in percent. Colour: the more, the larger in its column.</p>
    <p><${Select} label="Network" options=${names.map((one) => [one, one])} value=${now} onChange=${setName} /></p>
    <div class="scroll" tabindex="0" role="region" aria-label="Transfer"><table class="matrix"><thead><tr><th scope="col">trained on ↓ tested on →</th>${columns.map((column) => html`<th key=${column} scope="col"><bdi>${column}</bdi></th>`)}</tr></thead>
      <tbody>${trained.map((on) => html`<tr key=${on}><th scope="row"><bdi>${on}</bdi></th>${columns.map((column, c) => {
        const value = error(on, column);
        const step = scales[c](value);
        return html`<td key=${column} class=${`transfer ${step === null ? "" : `heat-${step}`} ${column === on ? "own" : ""}`}>${number(value)}</td>`;
      })}</tr>`)}</tbody></table></div></section>`;
}
