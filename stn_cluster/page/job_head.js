/** The head of a job's matrix: its state, speed and time left, and what can be done with it. */

import { html, useState } from "./lib.js";
import { postJson } from "./api.js";
import { ago, count, duration, time } from "./formats.js";
import { Badge, Confirm, Facts, Text } from "./parts.js";

const ENDED = ["succeeded", "failed", "cancelled"];

/** @param {{page: any, job: string, status: any, onChanged: () => void}} props */
export function JobHead({ page, job, status, onChanged }) {
  if (!status) return html`<p class="soft">Waiting for the job's first event …</p>`;
  const running = !ENDED.includes(status.state);
  return html`<div class="job-head">
    <${Facts} rows=${[
      ["state", html`<${Badge} state=${status.state} />`],
      ["submitted", status.submitted_at && html`<span title=${time(status.submitted_at)}>${ago(status.submitted_at)}</span>`],
      ["time left", running && (status.eta_seconds === null ? "not known yet" : `about ${duration(status.eta_seconds)}`)],
      ["speed", running && status.images_per_second > 0 && `${count(Math.round(status.images_per_second))} images/s`],
      ["workers", running && count(status.workers)],
      ["priority", status.priority || null],
    ].map(([name, value]) => [name, value || null])} />
    ${(status.waiting || []).map((line) => html`<p key=${line} class="note"><${Text} text=${line} /></p>`)}
    ${!page.read_only && html`<${JobActions} job=${job} state=${status.state} counts=${status.counts} onChanged=${onChanged} />`}
  </div>`;
}

/** Buttons of a job: cancel while it runs, retry what failed. */
export function JobActions({ job, state, counts, onChanged }) {
  const [asked, setAsked] = useState(null);
  const running = !ENDED.includes(state);
  const again = (counts.failed || 0) + (counts.cancelled || 0);
  const act = async (what) => {
    await postJson(`/jobs/${encodeURIComponent(job)}/${what}`);
    setAsked(null);
    onChanged();
  };
  return html`<p class="actions">
    ${running && html`<button type="button" onClick=${() => setAsked("cancel")}>Cancel</button>`}
    ${again > 0 && html`<button type="button" onClick=${() => setAsked("retry")}>Retry ${count(again)} failed or cancelled</button>`}
    ${asked === "cancel" && html`<${Confirm} title="Cancel this job?" action="Cancel the job" onDone=${() => act("cancel")} onCancel=${() => setAsked(null)}><p><bdi>${job}</bdi>: cells that no other job wants stop. What has ended stays.</p></${Confirm}>`}
    ${asked === "retry" && html`<${Confirm} title="Retry?" action="Queue them again" onDone=${() => act("retry")} onCancel=${() => setAsked(null)}><p><bdi>${job}</bdi>: ${count(again)} cells are queued again.</p></${Confirm}>`}
  </p>`;
}
