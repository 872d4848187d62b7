/** The matrix view: the table is the page. Filled as cells end; entries open, compare, train again. */

import { html, useEffect, useMemo, useRef, useState } from "./lib.js";
import { putJson, withQuery } from "./api.js";
import { useData } from "./data.js";
import { counted, network, newJobId } from "./formats.js";
import { useJob } from "./job_model.js";
import { JobCells } from "./job_cells.js";
import { JobHead } from "./job_head.js";
import { Filters, Switches, filtersOf, switchesOf, useSeen } from "./matrix_filters.js";
import { MatrixTable } from "./matrix_table.js";
import { SHOWN } from "./matrix_values.js";
import { Confirm, Empty, Failed, Heading, StateBar, notYet } from "./parts.js";
import { adjust, open, to, useTitle } from "./router.js";

const POLL = 3; // seconds between looks at a store
const POLL_OF_JOB = 10; // its events tell when there is news
const OFTEN = 1000; // ms between two looks because of events

export function MatrixPage({ page, route }) {
  const query = route.query;
  // A run's page opens at its own job.
  const job = query.get("job") || (route.view === "" && page.job) || "";
  useTitle(job ? `Matrix of ${job}` : "Matrix");
  const [rerun, setRerun] = useState(null); // the job that trains entries again, in place
  const filters = useMemo(() => filtersOf(query), [query]);
  const switches = useMemo(() => switchesOf(query), [query.get("show"), query.get("at"), query.get("base")]);
  const loaded = useMatrix({ ...filters, job });
  const [turn, setTurn] = useState(0); // changes when the job was queued again, or cancelled
  const live = useJob(job || rerun, turn);
  const unknown = loaded.error && loaded.error.status === 404;
  const changed = () => {
    setTurn((n) => n + 1);
    loaded.reload();
  };
  useNews(live.model.ended, loaded.reload);
  const matrices = loaded.data ? loaded.data.matrices : [];
  const seen = useSeen(matrices, filters);
  const list = query.get("list") === "cells";
  return html`<div class="head"><${Heading}>${job ? html`Job <bdi>${job}</bdi>` : "Matrix"}</${Heading}></div>
    ${job && !unknown && html`<${JobHead} page=${page} job=${job} status=${live.model.status} onChanged=${changed} />`}
    ${loaded.data && html`<${Overview} data=${loaded.data} model=${live.model} job=${job} rerun=${rerun} />`}
    ${job && html`<p class="tabs"><a href=${to("matrix", { job })} aria-current=${list ? undefined : "true"}>Matrix</a> <a href=${to("matrix", { job, list: "cells" })} aria-current=${list ? "true" : undefined}>Cells</a></p>`}
    ${list ? html`<${JobCells} model=${live.model} version=${live.version} state=${query.get("state") || ""} />`
    : html`<div class="controls"><${Switches} switches=${switches} matrices=${matrices} /><${Filters} seen=${seen} filters=${filters} /></div>
      ${matrices.length > 0 && html`<p class="note">${SHOWN.find(([id]) => id === switches.show)[2]}</p>`}
      ${loaded.error && loaded.data && loaded.error.status !== 0 && html`<${Failed} error=${loaded.error} retry=${loaded.reload} />`}
      ${notYet(loaded, "the matrix") || html`<${Matrices} page=${page} matrices=${matrices} switches=${switches} live=${live} filtered=${Object.values(filters).some((one) => one.length)} onRerun=${setRerun} />`}`}`;
}

/** The matrix: at first without intervals and marks, which take the predictions, then with them. */
function useMatrix(query) {
  const quick = useData(withQuery("/matrix", { ...query, interval: false }));
  const whole = useData(quick.data ? withQuery("/matrix", query) : null, { every: query.job ? POLL_OF_JOB : POLL });
  if (whole.data || !quick.data) return whole.data ? whole : quick;
  return { ...quick, error: whole.error, reload: whole.reload };
}

/** Looks for news when cells have ended, not more than once a second. */
function useNews(ended, reload) {
  const last = useRef(0);
  useEffect(() => {
    if (!ended) return undefined;
    const timer = setTimeout(() => {
      last.current = Date.now();
      reload();
    }, Math.max(0, last.current + OFTEN - Date.now()));
    return () => clearTimeout(timer);
  }, [ended]);
}

function Overview({ data, model, job, rerun }) {
  const counts = job && model.status ? model.status.counts : data.counts;
  return html`<div class="overview"><${StateBar} counts=${counts} legend=${true} />
    ${rerun && html`<p class="note">Trained again by job <a href=${to("matrix", { job: rerun })}><bdi>${rerun}</bdi></a>${model.status && `: ${model.status.state}`}</p>`}</div>`;
}

function Matrices({ page, matrices, switches, live, filtered, onRerun }) {
  const [chosen, setChosen] = useState([]);
  const [choosing, setChoosing] = useState(false);
  const [again, setAgain] = useState(null);
  if (!matrices.length) {
    return html`<${Empty} title=${filtered ? "No cell matches the filters." : "There are no cells here yet."}><p>${filtered ? "Take one of them away." : "The matrix fills as soon as a job trains into this store."}</p></${Empty}>`;
  }
  const choose = ({ row, entry }) => {
    const key = entry.cells[0].key;
    const next = chosen.some((one) => one.key === key) ? chosen.filter((one) => one.key !== key) : [...chosen, { key, name: `${network(row.model, row.transform)} on ${entry.distortion}` }];
    if (next.length === 2) open("compare", { a: next[0].key, b: next[1].key });
    setChosen(next);
  };
  const opened = (place, shift) => {
    if (switches.show === "baseline" && !switches.base) adjust({ base: network(place.row.model, place.row.transform) });
    else if (shift || choosing) choose(place);
    else open(`cells/${place.entry.cells[0].key}`);
  };
  return html`${switches.show === "baseline" && !switches.base && html`<p class="note">Click an entry or a row's name: its row becomes the baseline.</p>`}
    ${matrices.map((matrix) => html`<section key=${`${matrix.dataset} ${matrix.recipe}`} class="matrix-section">
      <h2><bdi>${matrix.dataset}</bdi> <span class="soft"><bdi>${matrix.recipe}</bdi> · ${matrix.seeds ? counted(matrix.seeds, "seed") : "no seed yet"}</span></h2>
      <${MatrixTable} matrix=${matrix} switches=${switches} model=${live.model} version=${live.version} chosen=${chosen} rerun=${!page.read_only} onOpen=${opened} onChoose=${choose} onAgain=${setAgain} onBase=${(base) => adjust({ base })} />
      <details class="legend"><summary>How to read it</summary><ul>${matrix.legend.map((line) => html`<li key=${line}><bdi>${line}</bdi></li>`)}<li>Colour: the more, the larger in its column.</li></ul></details>
    </section>`)}
    <p class="note keys">Click: the cell. Shift-click or <kbd>C</kbd>: choose two, to compare. Arrow keys: move.${!page.read_only && html` <kbd>R</kbd>: train again.`}
      ${" "}<button type="button" aria-pressed=${String(choosing)} onClick=${() => setChoosing(!choosing)}>Choose two to compare</button></p>
    ${chosen.length > 0 && html`<div class="chosen" role="status"><span>A: <strong>${chosen[0].name}</strong>; choose another one.</span> <button type="button" onClick=${() => setChosen([])}>Clear</button></div>`}
    ${again && html`<${Again} place=${again} onStarted=${(id) => { onRerun(id); setAgain(null); }} onCancel=${() => setAgain(null)} />`}`;
}

function Again({ place, onStarted, onCancel }) {
  const { matrix, row, entry } = place;
  const name = `${network(row.model, row.transform)} on ${entry.distortion}`;
  const start = async () => {
    const id = newJobId("rerun");
    const filters = { dataset: [matrix.dataset], recipe: [matrix.recipe], model: [row.model], transform: [row.transform], distortion: [entry.distortion] };
    await putJson(`/reruns/${id}`, { filters });
    onStarted(id);
  };
  return html`<${Confirm} title="Train again?" action=${`Train ${counted(entry.n_cells, "cell")}`} onDone=${start} onCancel=${onCancel}>
    <p>${name}, ${matrix.dataset}, ${matrix.recipe}: ${counted(entry.n_cells, "cell")}. The present results stay until the new ones are there.</p></${Confirm}>`;
}
