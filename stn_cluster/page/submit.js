/** A new job: its config, what it would take, and its submission. */

import { html, useRef, useState } from "./lib.js";
import { postJson, putJson } from "./api.js";
import { counted, newJobId } from "./formats.js";
import { Text } from "./parts.js";
import { open } from "./router.js";

const EXAMPLE = `# The whole grid on scikit-learn's handwritten digits.
dataset: digits
recipe:
  name: fast
  iterations: 500
  batch_size: 64
`;

/** @param {{page: any, onSubmitted: () => void}} props */
export function SubmitForm({ onSubmitted }) {
  const [yaml, setYaml] = useState(EXAMPLE);
  const [plan, setPlan] = useState(null); // of the text `plan.yaml`
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState("");
  const box = useRef(null);
  const form = useRef(null);
  const known = plan && plan.yaml === yaml;

  const ask = async (event) => {
    event.preventDefault();
    setBusy("plan");
    setProblem(null);
    try {
      setPlan({ ...(await postJson("/plan", { yaml })), yaml });
    } catch (error) {
      fail(error);
    }
    setBusy("");
  };
  const submit = async () => {
    setBusy("submit");
    setProblem(null);
    const fields = new FormData(form.current);
    const id = newJobId(plan.config.name || "page");
    try {
      await putJson(`/jobs/${id}`, { config: plan.config, priority: Number(fields.get("priority")) || 0, force: fields.get("force") === "on" });
      onSubmitted();
      open("matrix", { job: id });
    } catch (error) {
      fail(error);
    }
    setBusy("");
  };
  const fail = (error) => {
    setProblem(error);
    select(box.current, lineOf(yaml, error.field));
  };
  const take = async (event) => {
    const [file] = event.currentTarget.files;
    if (file) setYaml(await file.text());
  };

  return html`<form class="submit" ref=${form} onSubmit=${ask}>
    <label>Config (YAML)
      <textarea ref=${box} spellcheck="false" value=${yaml} aria-invalid=${String(Boolean(problem))} aria-describedby="submit-problem" onInput=${(event) => setYaml(event.currentTarget.value)}></textarea></label>
    <div id="submit-problem">${problem && html`<div class="problem" role="alert">${problem.field && html`<p><strong><bdi>${problem.field}</bdi></strong></p>`}<p class="lines"><${Text} text=${problem.message} /></p></div>`}</div>
    <p class="actions">
      <label>or a file: <input type="file" accept=".yaml,.yml,.json" onChange=${take} /></label>
      <label class="select">Priority <input name="priority" type="number" step="1" value="0" min="-1000" max="1000" /></label>
      <label><input name="force" type="checkbox" /> train again what is stored</label>
    </p>
    ${known && html`<div class="plan" role="status"><h2>${counted(plan.cells, "cell")}, ${plan.to_train === 0 ? "all of them stored" : `${plan.to_train} to train`}</h2><pre>${plan.lines.join("\n")}</pre></div>`}
    <p class="actions"><button type="submit" class=${known ? "" : "primary"} disabled=${Boolean(busy)}>${busy === "plan" ? "Planning …" : "Plan it"}</button>
      <button type="button" class=${known ? "primary" : ""} disabled=${!known || Boolean(busy)} onClick=${submit}>${busy === "submit" ? "Submitting …" : "Submit"}</button>
      ${!known && html`<span class="soft">A plan says first what it takes; a short calibration can be part of it.</span>`}</p>
  </form>`;
}

/** Number of the line of a YAML text that has a field, or -1. */
export function lineOf(yaml, field) {
  if (!field) return -1;
  const names = field.split(".").filter((name) => !/^\d+$/.test(name) && name !== "config");
  const lines = yaml.split("\n");
  let from = 0;
  let found = -1;
  for (const name of names) {
    const next = lines.findIndex((line, index) => index >= from && line.trimStart().replace(/^- /, "").startsWith(`${name}:`));
    if (next < 0) break;
    found = next;
    from = next + 1;
  }
  return found;
}

function select(box, line) {
  if (!box || line < 0) return;
  const lines = box.value.split("\n");
  const start = lines.slice(0, line).reduce((sum, one) => sum + one.length + 1, 0);
  box.focus();
  box.setSelectionRange(start, start + lines[line].length);
}
