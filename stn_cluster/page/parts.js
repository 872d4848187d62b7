/** Small parts that all views use: states of loading, badges, bars of states, switches, text. */

import { html, useEffect, useRef, useState } from "./lib.js";
import { save } from "./api.js";
import { count } from "./formats.js";

/** States of cells and jobs, in the order in which bars show them. */
export const STATES = ["succeeded", "running", "queued", "failed", "cancelled", "missing"];

/** What is shown until there are data. */
export const Loading = ({ of = "" }) => html`<p class="loading" role="status">Loading${of && ` ${of}`} …</p>`;

/** What is shown where there is nothing. */
export const Empty = ({ title, children }) => html`<div class="empty"><p><strong>${title}</strong></p>${children}</div>`;

/** An error, in words; with a way to try again. */
export function Failed({ error, retry }) {
  return html`<div class="problem" role="alert">
    <p><strong>${error.status === 404 ? "There is no such thing here." : "This could not be loaded."}</strong></p>
    <p class="lines"><${Text} text=${error.message} /></p>
    ${retry && html`<button type="button" onClick=${retry}>Try again</button>`}
  </div>`;
}

/** What data say of themselves until they are there; null once they are. */
export function notYet(loaded, of) {
  if (loaded.data) return null;
  if (loaded.error) return html`<${Failed} error=${loaded.error} retry=${loaded.reload} />`;
  return html`<${Loading} of=${of} />`;
}

/** A button that looks like a link, and saves an answer of the server as a file. */
export function Download({ path, name, children }) {
  const [problem, setProblem] = useState(null);
  const go = () => save(path, name).then(() => setProblem(null), (error) => setProblem(error.message));
  return html`<button type="button" class="link" onClick=${go}>${children}</button>${problem && html` <span class="problem" role="alert"><${Text} text=${problem} /></span>`}`;
}

/** The name of a state, with its sign. */
export const Badge = ({ state }) => html`<span class=${`badge is-${kindOf(state)}`}>${state}</span>`;

const kindOf = (state) => (STATES.includes(state) ? state : { passed: "succeeded", ok: "succeeded" }[state] || "other");

/** A bar of cells by state, with its numbers as text. */
export function StateBar({ counts, legend = false }) {
  const parts = STATES.filter((state) => counts[state] > 0);
  const total = parts.reduce((sum, state) => sum + counts[state], 0);
  const words = parts.map((state) => `${count(counts[state])} ${state}`).join(", ") || "no cells";
  return html`<div class="states">
    <div class="state-bar" role="img" aria-label=${words}>
      ${parts.map((state) => html`<i key=${state} class=${`is-${state}`} style=${{ flexGrow: String(counts[state] / total) }}></i>`)}
    </div>
    ${legend && html`<p class="state-words">${parts.map((state) => html`<span key=${state}><i class=${`dot is-${state}`} aria-hidden="true"></i>${count(counts[state])} ${state}</span>`)}</p>`}
  </div>`;
}

/** A choice of one of a few values, as a row of buttons. */
export function Switch({ label, options, value, onChange }) {
  return html`<div class="switch" role="group" aria-label=${label}>
    ${options.map(([id, text, title]) => html`<button key=${id} type="button" aria-pressed=${String(id === value)} title=${title} onClick=${() => onChange(id)}>${text}</button>`)}
  </div>`;
}

/** A choice of one of many values. */
export function Select({ label, options, value, onChange }) {
  return html`<label class="select"><span>${label}</span>
    <select value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
      ${options.map(([id, text]) => html`<option key=${id} value=${id} selected=${id === value}>${text}</option>`)}
    </select></label>`;
}

/** A line of a shell, with a button that copies it. */
export function Command({ text }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
      setTimeout(() => setCopied(false), 2000);
    } catch { /* without a clipboard (http on another host) the text can be selected */ }
  };
  return html`<div class="command"><code tabindex="0">${text}</code>
    <button type="button" onClick=${copy}>${copied ? "Copied" : "Copy"}</button></div>`;
}

const LONGEST = 10_000; // characters of a line that are shown at once

/** Text of others: as it is, and not more than can be read; the rest on demand. */
export function Text({ text, most = LONGEST }) {
  const [whole, setWhole] = useState(false);
  const cut = !whole && text.length > most;
  return html`<bdi>${cut ? text.slice(0, most) : text}</bdi>${cut && html`<button type="button" class="link" onClick=${() => setWhole(true)}>… ${count(text.length - most)} more characters</button>`}`;
}

/** A dialog that asks before something is done; it opens at once. */
export function Confirm({ title, action, onDone, onCancel, children }) {
  const dialog = useRef(null);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  const go = async () => {
    setBusy(true);
    try {
      await onDone();
    } catch (error) {
      setProblem(error.message);
      setBusy(false);
    }
  };
  return html`<dialog ref=${dialog} onClose=${onCancel} aria-label=${title}>
    <h2>${title}</h2>${children}
    ${problem && html`<p class="problem" role="alert"><${Text} text=${problem} /></p>`}
    <p class="actions"><button type="button" class="primary" disabled=${busy} onClick=${go}>${action}</button>
      <button type="button" onClick=${() => dialog.current.close()}>Not now</button></p>
  </dialog>`;
}

/** Names and values, two a row. Values that are null or undefined are left out. */
export function Facts({ rows }) {
  return html`<dl class="facts">${rows.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** The heading of a view: focused when the view opens, so that a screen reader says where one is. */
export function Heading({ children }) {
  const heading = useRef(null);
  useEffect(() => {
    if (document.activeElement && document.activeElement !== document.body && document.activeElement.closest("nav.views")) {
      heading.current.focus({ preventScroll: true });
    }
  }, []);
  return html`<h1 ref=${heading} tabindex="-1">${children}</h1>`;
}
