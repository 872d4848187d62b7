/** The learning curve of a cell's attempts. */

import { html, useMemo, useState } from "./lib.js";
import { withQuery } from "./api.js";
import { useData } from "./data.js";
import { number } from "./formats.js";
import { Empty, Switch, notYet } from "./parts.js";
import { Plot } from "./plot.js";

const POLL = 3; // seconds, while it is trained

/** @param {{cell: any, attempt: string | null, running: boolean}} props */
export function Curve({ cell, attempt, running }) {
  const [log, setLog] = useState(false);
  const loaded = useData(withQuery(`/cells/${cell.key}/curve`, { attempt }), { every: running ? POLL : 0 });
  const curve = loaded.data;
  const drawn = useMemo(() => curve && seriesOf(curve), [curve]);
  const problem = notYet(loaded, "the curve");
  if (problem) return problem;
  if (!curve.step.length) return html`<${Empty} title="There is no curve of this attempt."><p>It ended before its first step was recorded, or its recipe records none.</p></${Empty}>`;
  const last = curve.loss[curve.loss.length - 1];
  return html`<${Switch} label="Axis of the loss" options=${[["", "linear"], ["log", "logarithmic"]]} value=${log ? "log" : ""} onChange=${(value) => setLog(value === "log")} />
    <${Plot} ...${drawn} log=${log} xLabel="training step" yLabel="training loss" y2Label=${curve.test.step.length ? "test error in %" : undefined}
      label=${`Training loss over ${curve.step.length} records, to step ${curve.step[curve.step.length - 1]}; the last is ${number(last, 3)}`} />`;
}

function seriesOf(curve) {
  const series = [{ label: "training loss", values: curve.loss }];
  if (curve.test.step.length) {
    const errors = new Map(curve.test.step.map((step, index) => [step, curve.test.error[index]]));
    series.push({ label: "test error", values: curve.step.map((step) => errors.get(step) ?? null), scale: "y2", points: true });
  }
  return { x: curve.step, series };
}
