/** The view of jobs: what there is, how far it is, and a new one. */

import { html, useState } from "./lib.js";
import { withQuery } from "./api.js";
import { useData } from "./data.js";
import { ago, count, duration, time } from "./formats.js";
import { JobActions } from "./job_head.js";
import { Badge, Empty, Heading, StateBar, Text, notYet } from "./parts.js";
import { to, useTitle } from "./router.js";
import { SubmitForm } from "./submit.js";

const POLL = 2; // seconds
const FIRST = 50; // jobs that are shown at once

export function JobsPage({ page }) {
  useTitle("Jobs");
  const [shown, setShown] = useState(FIRST);
  const loaded = useData(withQuery("/jobs", { order: "newest", limit: shown + 1 }), { every: POLL });
  const [asking, setAsking] = useState(false);
  const jobs = loaded.data || [];
  const first = loaded.data && !jobs.length && !page.read_only;
  return html`<${Heading}>Jobs</${Heading}>
    ${!page.read_only && !first && html`<p><button type="button" class=${asking ? "" : "primary"} aria-expanded=${String(asking)} onClick=${() => setAsking(!asking)}>${asking ? "Close" : "New job"}</button></p>`}
    ${(asking || first) && !page.read_only && html`<${SubmitForm} page=${page} onSubmitted=${() => { setAsking(false); loaded.reload(); }} />`}
    ${notYet(loaded, "jobs") || (jobs.length ? html`<div>${jobs.slice(0, shown).map((job) => html`<${Job} key=${job.job_id} page=${page} job=${job} reload=${loaded.reload} />`)}</div>` : html`<${Empty} title="There are no jobs yet."><p>${page.read_only ? "They are shown here as soon as one is submitted." : "Submit one above: the example takes a few minutes."}</p></${Empty}>`)}
    ${jobs.length > shown && html`<p><button type="button" onClick=${() => setShown(shown + FIRST)}>Show more</button></p>`}`;
}

function Job({ page, job, reload }) {
  const failed = job.counts.failed || 0;
  const running = job.state === "running" || job.state === "queued";
  return html`<article class="job">
    <div><a class="job-name" href=${to("matrix", { job: job.job_id })}><bdi>${job.job_id}</bdi></a>
      <p class="job-facts"><${Badge} state=${job.state} />
        ${job.submitted_at && html`<span title=${time(job.submitted_at)}>${ago(job.submitted_at)}</span>`}
        ${running && job.eta_seconds !== null && html`<span>about ${duration(job.eta_seconds)} left</span>`}
        ${job.priority !== 0 && html`<span>priority ${job.priority}</span>`}
        ${failed > 0 && html`<a href=${to("failures", { job: job.job_id })}>${count(failed)} failed</a>`}</p>
      ${job.trouble && html`<p class="note"><${Text} text=${job.trouble} /></p>`}</div>
    <${StateBar} counts=${job.counts} legend=${true} />
    ${page.read_only ? html`<span></span>` : html`<${JobActions} job=${job.job_id} state=${job.state} counts=${job.counts} onChanged=${reload} />`}
  </article>`;
}
