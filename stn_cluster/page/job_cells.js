/** All cells of a job as a list, as its events tell of them; 100,000 of them are no trouble. */

import { html, useMemo } from "./lib.js";
import { count, network, percent } from "./formats.js";
import { Badge, Empty, Loading, STATES, Switch } from "./parts.js";
import { adjust, to } from "./router.js";
import { VirtualList } from "./virtual.js";

const ROW = 34; // pixels

/** @param {{model: import("./job_model.js").JobModel, version: number, state: string}} props state: "" shows all */
export function JobCells({ model, version, state }) {
  const all = useMemo(() => [...model.cells.values()], [version]);
  const shown = useMemo(() => (state ? all.filter((one) => one.state === state) : all), [all, state]);
  if (!model.status) return html`<${Loading} of="cells" />`;
  const options = [["", `all (${count(all.length)})`], ...STATES.filter((one) => model.status.counts[one]).map((one) => [one, `${one} (${count(model.status.counts[one])})`])];
  return html`<${Switch} label="State" options=${options} value=${state} onChange=${(next) => adjust({ state: next })} />
    ${shown.length ? html`<${VirtualList} rows=${shown.length} height=${ROW} label="Cells of the job" className="job-cells" draw=${(index) => html`<${CellRow} status=${shown[index]} />`} />` : html`<${Empty} title="No cell is in this state." />`}`;
}

function CellRow({ status }) {
  const { cell } = status;
  const name = `${network(cell.model, cell.transform)} on ${cell.tested_on || cell.distortion}, seed ${cell.seed}`;
  return html`<div class="cell-row">
    <span class="cell-name">${cell.tested_on ? html`<bdi>${name}</bdi>` : html`<a href=${to(`cells/${cell.key}`)}><bdi>${name}</bdi></a>`} <span class="soft"><bdi>${cell.dataset}</bdi> <bdi>${cell.recipe}</bdi></span></span>
    <span>${status.state === "running" && cell.iterations > 0 ? `${count(status.step)} of ${count(cell.iterations)} steps` : status.test_error === null ? "" : percent(status.test_error)}</span>
    <${Badge} state=${status.state} />
  </div>`;
}
