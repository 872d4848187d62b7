/** The view of a cell: what it is, how it was trained, what it gets wrong, its log. */

import { html, useMemo, useState } from "./lib.js";
import { putJson, withQuery } from "./api.js";
import { Attempts, Evaluations, Spec } from "./cell_facts.js";
import { Curve } from "./curve.js";
import { useData } from "./data.js";
import { count, duration, network, newJobId, percent, time } from "./formats.js";
import { Log } from "./log.js";
import { Badge, Command, Confirm, Download, Facts, Heading, Text, notYet } from "./parts.js";
import { Predictions } from "./predictions.js";
import { adjust, to, useTitle } from "./router.js";
import { Transformations } from "./transformations.js";

/** Seconds between two looks at a cell: often while something happens to it. */
const pause = (cell) => (cell.attempts.some((one) => one.state === "running") || ["queued", "running"].includes(cell.state) ? 3 : 15);

export function CellPage({ page, route }) {
  const key = route.rest;
  const loaded = useData(`/cells/${encodeURIComponent(key)}`, { every: pause });
  const cell = loaded.data;
  useTitle(cell && cell.label ? cell.label : key);
  const problem = notYet(loaded, "the cell");
  if (problem) return html`<${Heading}>Cell <bdi>${key}</bdi></${Heading}>${problem}`;
  return html`<${Cell} key=${key} page=${page} cell=${cell} wanted=${route.query.get("attempt")} reload=${loaded.reload} />`;
}

function Cell({ page, cell, wanted, reload }) {
  const chosen = cell.attempts.find((one) => one.attempt === wanted) || cell.attempts.find((one) => one.current) || cell.attempts[0] || null;
  const attempt = chosen && chosen.attempt;
  const running = Boolean(chosen) && chosen.state === "running";
  const result = cell.result;
  const isCurrent = Boolean(chosen && chosen.current);
  const title = cell.model ? `${network(cell.model, cell.transform)} on ${cell.distortion}` : cell.label || cell.key;
  return html`<${Heading}><bdi>${title}</bdi>${cell.seed !== undefined && html`, seed ${cell.seed}`}</${Heading}>
    <${Seeds} cell=${cell} />
    <div class="headline">${result && result.test_error !== null && html`<span class="big">${percent(result.test_error)}</span><span class="soft">test error${result.n_test ? ` on ${count(result.n_test)} images` : ""}</span>`}<${Badge} state=${stateOf(cell)} /></div>
    <${Facts} rows=${[
      ["data set", cell.dataset && html`<bdi>${cell.dataset}</bdi>`],
      ["recipe", cell.recipe && html`<bdi>${cell.recipe}</bdi>`],
      ["parameters", result && result.parameters ? count(result.parameters) : null],
      ["training", result && result.train_seconds !== null ? duration(result.train_seconds) : null],
      ["device", result && result.device && html`<bdi>${result.device}</bdi>`],
      ["ended", result && result.finished_at ? time(result.finished_at) : null],
      ["key", html`<code>${cell.key}</code>`],
    ]} />
    ${result && result.error && html`<section><h2>Why it failed</h2><pre tabindex="0"><${Text} text=${result.error} /></pre></section>`}
    <div class="columns">
      ${chosen && (chosen.curve || running) && html`<section><h2>Learning curve</h2><${Curve} cell=${cell} attempt=${attempt} running=${running} /></section>`}
      ${cell.transformer && cell.weights && isCurrent && html`<section><h2>What its transformer does</h2><${Transformations} cell=${cell} attempt=${attempt} /></section>`}
    </div>
    ${isCurrent && (cell.predictions || cell.confusion) && html`<${Predictions} cell=${cell} attempt=${attempt} />`}
    ${cell.evaluations && cell.evaluations.length > 0 && html`<section><h2>On other test sets</h2><${Evaluations} rows=${cell.evaluations} /></section>`}
    <section><h2>Attempts ${chosen && cell.attempts.length > 1 && html`<span class="soft">shown is ${attempt.slice(0, 8)}</span>`}</h2>
      ${cell.attempts.length ? html`<${Attempts} attempts=${cell.attempts} shown=${attempt} onShow=${(one) => adjust({ attempt: one })} />` : html`<p class="soft">It was not tried yet.</p>`}</section>
    ${chosen && (chosen.log || running) && html`<section><h2>Log <span class="soft">of attempt ${attempt.slice(0, 8)}</span></h2><${Log} key=${attempt} cellKey=${cell.key} attempt=${attempt} running=${running} /></section>`}
    <${Actions} page=${page} cell=${cell} reload=${reload} />
    <section><h2>Spec</h2>${cell.spec ? html`<${Spec} spec=${cell.spec} />` : html`<p class="soft">Not known yet.</p>`}</section>`;
}

/** What happens to a cell now: its attempts know it before the store has a result. */
function stateOf(cell) {
  if (cell.attempts.some((one) => one.state === "running")) return "running";
  return cell.state;
}

/** Links to the other seeds of the same entry. */
function Seeds({ cell }) {
  const { dataset, recipe, model, transform, distortion } = cell;
  const loaded = useData(model ? withQuery("/matrix", { dataset, recipe, model, transform, distortion, interval: false }) : null);
  const cells = useMemo(() => (loaded.data ? loaded.data.matrices.flatMap((one) => one.rows.flatMap((row) => row.entries.flatMap((entry) => (entry ? entry.cells : [])))) : []), [loaded.data]);
  if (cells.length < 2) return null;
  return html`<p class="seeds" role="group" aria-label="Seeds"><span class="soft">seed</span>${cells.map((one) => html`<a key=${one.key} href=${to(`cells/${one.key}`)} aria-current=${one.key === cell.key ? "true" : undefined}>${one.seed}</a>`)}</p>`;
}

function Actions({ page, cell, reload }) {
  const [asked, setAsked] = useState(false);
  const [job, setJob] = useState(null);
  const again = async () => {
    const id = newJobId("rerun");
    await putJson(`/reruns/${id}`, { filters: { key: [cell.key] } });
    setAsked(false);
    setJob(id);
    reload();
  };
  return html`<section><h2>Repeat this</h2>
    ${cell.repeat && html`<${Command} text=${cell.repeat} />`}
    <p class="actions">
      ${!page.read_only && html`<button type="button" onClick=${() => setAsked(true)}>Train again</button>`}
      ${page.draw && cell.weights && html`<a href=${to("draw", { key: cell.key })}>Draw into it</a>`}
      ${cell.result && html`<span class="soft">Rows: ${["CSV", "Parquet", "JSON"].map((kind, at) => html`${at > 0 && " · "}<${Download} key=${kind} path=${withQuery("/results", { key: cell.key, format: kind.toLowerCase() })} name=${`${cell.key}.${kind.toLowerCase()}`}>${kind}</${Download}>`)}</span>`}
    </p>
    ${job && html`<p class="note" role="status">Queued as job <a href=${to("matrix", { job })}>${job}</a>.</p>`}
    ${asked && html`<${Confirm} title="Train again?" action="Train 1 cell" onDone=${again} onCancel=${() => setAsked(false)}><p>The present result stays until the new one is there.</p></${Confirm}>`}</section>`;
}
