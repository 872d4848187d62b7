/** Failed cells, those with the same error together, with a way to train them again. */

import { html, useState } from "./lib.js";
import { putJson, withQuery } from "./api.js";
import { useData } from "./data.js";
import { count, counted, newJobId } from "./formats.js";
import { Confirm, Empty, Heading, Text, notYet } from "./parts.js";
import { adjust, to, useTitle } from "./router.js";

const POLL = 5; // seconds
const FIRST = 12; // cells of a group that are shown at once

export function FailuresPage({ page, route }) {
  useTitle("Failures");
  const job = route.query.get("job") || "";
  const loaded = useData(withQuery("/failures", { job }), { every: POLL });
  return html`<${Heading}>Failures</${Heading}>
    ${job && html`<p class="note">Of job <a href=${to("matrix", { job })}><bdi>${job}</bdi></a>. <button type="button" class="link" onClick=${() => adjust({ job: null })}>Show all</button></p>`}
    ${notYet(loaded, "failures") || html`<${Groups} page=${page} data=${loaded.data} />`}`;
}

function Groups({ page, data }) {
  if (!data.groups.length) return html`<${Empty} title="No cell has failed."><p>Failed cells are shown here, those with the same error together.</p></${Empty}>`;
  return html`<p>${counted(data.total, "cell")} failed, with ${counted(data.groups.length, "kind")} of error. They are kept as they are until they are trained again.</p>
    ${data.groups.map((group, index) => html`<${Group} key=${`${group.error} ${index}`} page=${page} group=${group} />`)}`;
}

function Group({ page, group }) {
  const [all, setAll] = useState(false);
  const [asked, setAsked] = useState(false);
  const [job, setJob] = useState(null);
  const cells = all ? group.cells : group.cells.slice(0, FIRST);
  const again = async () => {
    const id = newJobId("retry");
    await putJson(`/reruns/${id}`, { filters: { key: group.cells.map((one) => one.key) } });
    setAsked(false);
    setJob(id);
  };
  return html`<article class="failure"><h2><${Text} text=${group.error} most=${600} /></h2>
    <p class="soft">${counted(group.count, "cell")}${group.jobs.length > 0 && html`, of ${group.jobs.slice(0, 3).map((id, index) => html`${index > 0 && ", "}<bdi key=${id}>${id}</bdi>`)}${group.jobs.length > 3 && ` and ${counted(group.jobs.length - 3, "other job")}`}`}</p>
    <ul>${cells.map((one) => html`<li key=${one.key}><a href=${to(`cells/${one.key}`)}><bdi>${one.label}</bdi></a> <span class="soft"><bdi>${one.dataset}</bdi> <bdi>${one.recipe}</bdi></span></li>`)}</ul>
    ${group.cells.length > cells.length && html`<p><button type="button" class="link" onClick=${() => setAll(true)}>Show ${count(group.cells.length - cells.length)} more</button></p>`}
    ${group.count > group.cells.length && all && html`<p class="note">The first ${count(group.cells.length)} of ${count(group.count)}.</p>`}
    <details><summary>Traceback of the newest</summary><pre tabindex="0"><${Text} text=${group.text} most=${50_000} /></pre></details>
    ${!page.read_only && html`<p class="actions"><button type="button" onClick=${() => setAsked(true)}>Train ${group.cells.length < group.count ? `the first ${count(group.cells.length)}` : "them"} again</button></p>`}
    ${job && html`<p class="note" role="status">Queued as job <a href=${to("matrix", { job })}><bdi>${job}</bdi></a>.</p>`}
    ${asked && html`<${Confirm} title="Train again?" action=${`Train ${counted(group.cells.length, "cell")}`} onDone=${again} onCancel=${() => setAsked(false)}><p>A cell whose cause is still there fails again.</p></${Confirm}>`}
  </article>`;
}
