/** The log of an attempt: lines as text, with search, and following while it grows. */

import { html, useEffect, useMemo, useState } from "./lib.js";
import { request } from "./api.js";
import { bytes, count } from "./formats.js";
import { Download, Empty, Failed, Loading, Text } from "./parts.js";
import { VirtualList } from "./virtual.js";

const POLL = 2000; // ms, while it is followed
const ROW = 20; // pixels
const CUT = 10_000; // characters of a line that are shown in the list

/** Lines of a text, without the empty one at its end. */
export function linesOf(text) {
  const lines = text.split(/\r\n|\n|\r/);
  if (lines[lines.length - 1] === "") lines.pop();
  return lines;
}

/** @param {{cellKey: string, attempt: string, running: boolean}} props */
export function Log({ cellKey, attempt, running }) {
  const [follow, setFollow] = useState(running);
  const [wanted, setWanted] = useState("");
  const [hit, setHit] = useState(0);
  const [whole, setWhole] = useState(null);
  const url = `/logs/${cellKey}/${attempt}`;
  const { text, error, again } = useText(url, running && follow);
  const lines = useMemo(() => linesOf(text || ""), [text]);
  const hits = useMemo(() => found(lines, wanted), [lines, wanted]);
  if (error && text === null) return error.status === 404 ? html`<${Empty} title="There is no log of this attempt." />` : html`<${Failed} error=${error} retry=${again} />`;
  if (text === null) return html`<${Loading} of="the log" />`;
  if (!lines.length) return html`<${Empty} title="The log is empty." />`;
  const move = (by) => setHit(hits.length ? (hit + by + hits.length) % hits.length : 0);
  const key = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    move(event.shiftKey ? -1 : 1);
  };
  const isHit = new Set(hits);
  return html`<div class="log-tools">
      <label class="select">Search <input type="search" value=${wanted} onInput=${(event) => { setWanted(event.currentTarget.value); setHit(0); }} onKeyDown=${key} /></label>
      ${wanted && html`<span class="soft" role="status">${hits.length ? `${count(hit + 1)} of ${count(hits.length)} lines` : "not found"}</span>
        <button type="button" disabled=${!hits.length} onClick=${() => move(-1)} aria-label="Previous">↑</button><button type="button" disabled=${!hits.length} onClick=${() => move(1)} aria-label="Next">↓</button>`}
      ${running && html`<label><input type="checkbox" checked=${follow} onChange=${(event) => setFollow(event.currentTarget.checked)} /> follow</label>`}
      <span class="soft">${count(lines.length)} lines, ${bytes(text.length)}</span>
      <${Download} path=${url} name=${`${cellKey}-${attempt}.log`}>Download</${Download}>
    </div>
    <${VirtualList} rows=${lines.length} height=${ROW} label="Log" className="log" follow=${follow} at=${wanted && hits.length ? hits[hit] : undefined}
      draw=${(index) => html`<pre class=${isHit.has(index) ? "hit" : ""}>${lines[index].slice(0, CUT)}${lines[index].length > CUT && html`<button type="button" class="link" onClick=${() => setWhole(index)}>… ${count(lines[index].length - CUT)} more characters</button>`}</pre>`} />
    ${whole !== null && lines[whole] !== undefined && html`<h3>Line ${count(whole + 1)} <button type="button" class="link" onClick=${() => setWhole(null)}>Close</button></h3><pre tabindex="0"><${Text} text=${lines[whole]} most=${5_000_000} /></pre>`}`;
}

/** Numbers of the lines that have a text, in either case. */
export function found(lines, wanted) {
  const small = wanted.toLowerCase();
  if (!small) return [];
  const hits = [];
  lines.forEach((line, index) => {
    if (line.toLowerCase().includes(small)) hits.push(index);
  });
  return hits;
}

/** A text of the server, again and again while it is followed. */
function useText(url, follow) {
  const [state, setState] = useState({ text: null, error: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    let timer;
    const load = async () => {
      try {
        const text = await (await request(url, { signal: stop.signal })).text();
        setState((old) => (old.text === text ? old : { text, error: null }));
      } catch (error) {
        if (stop.signal.aborted) return;
        setState((old) => ({ ...old, error }));
      }
      if (follow) timer = setTimeout(load, POLL);
    };
    load();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [url, follow, turn]);
  return { ...state, again: () => setTurn((n) => n + 1) };
}
