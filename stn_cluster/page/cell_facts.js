/** Tables of a cell: its attempts, its spec, its evaluations. */

import { html } from "./lib.js";
import { duration, number, percent, time } from "./formats.js";
import { Badge, Text } from "./parts.js";

/** @param {{attempts: any[], shown: string | null, onShow: (attempt: string) => void}} props */
export function Attempts({ attempts, shown, onShow }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Attempts"><table class="attempts"><thead><tr>
    <th scope="col">attempt</th><th scope="col">end</th><th scope="col">when</th><th scope="col" class="number">error</th><th scope="col" class="number">training</th><th scope="col">where</th><th scope="col">job</th></tr></thead>
    <tbody>${attempts.map((one) => html`<tr key=${one.attempt} class=${one.attempt === shown ? "shown" : ""}>
      <td><button type="button" class="link" aria-pressed=${String(one.attempt === shown)} onClick=${() => onShow(one.attempt)}><code>${one.attempt.slice(0, 8)}</code></button>${one.current && html`<small>current</small>`}</td>
      <td><${Badge} state=${one.state || "unknown"} />${one.reason && html`<div class="reason"><${Text} text=${one.reason} most=${300} /></div>`}${one.charged && html`<div class="soft">counted as a failure of the cell</div>`}</td>
      <td>${time(one.ended_at || one.started_at)}${!one.ended_at && one.started_at && html`<div class="soft">began</div>`}</td>
      <td class="number">${percent(one.test_error ?? null)}</td>
      <td class="number">${duration(one.train_seconds ?? null)}${one.pack_size > 1 && html`<div class="soft">in a pack of ${one.pack_size}</div>`}</td>
      <td><${Text} text=${one.device || "–"} most=${80} />${(one.torch || one.torch_version) && html`<div class="soft">torch ${one.torch || one.torch_version}</div>`}</td>
      <td><bdi>${one.job_id || "–"}</bdi></td></tr>`)}</tbody></table></div>`;
}

/** A cell's spec, one field a line: nested fields by their path. */
export function Spec({ spec }) {
  return html`<table class="spec"><tbody>${flat(spec).map(([name, value]) => html`<tr key=${name}><td><bdi>${name}</bdi></td><td><${Text} text=${value} most=${500} /></td></tr>`)}</tbody></table>`;
}

/** Fields by path, as text; empty ones are left out. */
export function flat(value, path = "") {
  if (value === null || value === undefined) return [];
  if (typeof value !== "object") return [[path, String(value)]];
  if (Array.isArray(value)) return value.length ? [[path, value.map((one) => (typeof one === "object" ? JSON.stringify(one) : String(one))).join(", ")]] : [];
  return Object.entries(value).flatMap(([name, one]) => flat(one, path ? `${path}.${name}` : name));
}

/** Errors of a cell on other test sets. */
export function Evaluations({ rows }) {
  const shown = [...rows].sort((a, b) => `${a.on}`.localeCompare(`${b.on}`) || a.severity - b.severity || a.worst_of - b.worst_of);
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Evaluations"><table><thead><tr><th scope="col">tested on</th><th scope="col" class="number">severity</th><th scope="col" class="number">worst of</th><th scope="col" class="number">error</th><th scope="col">status</th></tr></thead>
    <tbody>${shown.map((row, index) => html`<tr key=${index}><td><bdi>${row.dataset}</bdi> <bdi>${row.on}</bdi></td><td class="number">${number(row.severity)}</td><td class="number">${row.worst_of}</td><td class="number">${percent(row.test_error ?? null)}</td><td><${Badge} state=${row.status || "unknown"} />${row.error && html`<div class="reason"><${Text} text=${row.error} most=${200} /></div>`}</td></tr>`)}</tbody></table></div>`;
}
