/** A cell's confusion matrix, and the test images that it gets wrong. */

import { html, useEffect, useState } from "./lib.js";
import { getJson, withQuery } from "./api.js";
import { useData } from "./data.js";
import { count, percent } from "./formats.js";
import { Gallery, More, mistake } from "./gallery.js";
import { Empty, Failed, Switch, notYet } from "./parts.js";

const PAGE = 48; // images
const MOST_CLASSES = 40; // of a table; of more, only the worst confusions are listed

/** @param {{cell: any, attempt: string | null}} props */
export function Predictions({ cell, attempt }) {
  const [chosen, setChosen] = useState(null);
  return html`<div class="columns">
    ${cell.confusion && html`<section><h2>Confusion</h2><${Confusion} cell=${cell} attempt=${attempt} chosen=${chosen} onChoose=${setChosen} /></section>`}
    ${cell.predictions && html`<section><h2>Images</h2><${Images} key=${`${attempt} ${chosen && chosen.join()}`} cell=${cell} attempt=${attempt} chosen=${chosen} onClear=${() => setChosen(null)} /></section>`}
  </div>`;
}

function Confusion({ cell, attempt, chosen, onChoose }) {
  const loaded = useData(withQuery(`/cells/${cell.key}/confusion`, { attempt }));
  const problem = notYet(loaded, "the confusion matrix");
  if (problem) return problem;
  const { counts, n_test } = loaded.data;
  const names = loaded.data.class_names || counts.map((_, index) => String(index));
  const wrong = counts.reduce((sum, row, truth) => sum + row.reduce((all, n, predicted) => all + (truth === predicted ? 0 : n), 0), 0);
  const about = html`<p class="note">${count(wrong)} of ${count(n_test)} images are wrong. Click a number for its images.</p>`;
  if (counts.length > MOST_CLASSES) return html`${about}<${Worst} counts=${counts} names=${names} chosen=${chosen} onChoose=${onChoose} />`;
  const most = Math.max(1, ...counts.flatMap((row, truth) => row.filter((_, predicted) => predicted !== truth)));
  return html`${about}<div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix"><table class="confusion">
    <thead><tr><th scope="col"><span class="soft">true ↓ taken for →</span></th>${names.map((name, index) => html`<th key=${index} scope="col"><bdi>${name}</bdi></th>`)}</tr></thead>
    <tbody>${counts.map((row, truth) => html`<tr key=${truth}><th scope="row"><bdi>${names[truth]}</bdi></th>${row.map((n, predicted) => {
      if (truth === predicted) return html`<td key=${predicted} class="right">${count(n)}</td>`;
      if (n === 0) return html`<td key=${predicted} class="zero">·</td>`;
      const pressed = chosen && chosen[0] === truth && chosen[1] === predicted;
      return html`<td key=${predicted} class=${`heat-${1 + Math.round((7 * n) / most)}`}><button type="button" aria-pressed=${String(Boolean(pressed))} aria-label=${`${n} images of ${names[truth]} taken for ${names[predicted]}`} onClick=${() => onChoose(pressed ? null : [truth, predicted])}>${count(n)}</button></td>`;
    })}</tr>`)}</tbody></table></div>`;
}

function Worst({ counts, names, chosen, onChoose }) {
  const pairs = counts.flatMap((row, truth) => row.map((n, predicted) => [n, truth, predicted])).filter(([n, truth, predicted]) => n > 0 && truth !== predicted);
  pairs.sort((a, b) => b[0] - a[0]);
  return html`<table><thead><tr><th scope="col" class="number">images</th><th scope="col">true</th><th scope="col">taken for</th></tr></thead><tbody>
    ${pairs.slice(0, 30).map(([n, truth, predicted]) => html`<tr key=${`${truth} ${predicted}`}><td class="number"><button type="button" class="link" aria-pressed=${String(Boolean(chosen && chosen[0] === truth && chosen[1] === predicted))} onClick=${() => onChoose([truth, predicted])}>${count(n)}</button></td><td><bdi>${names[truth]}</bdi></td><td><bdi>${names[predicted]}</bdi></td></tr>`)}
  </tbody></table>`;
}

function Images({ cell, attempt, chosen, onClear }) {
  const [which, setWhich] = useState("worst");
  const [pages, setPages] = useState([]);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const [truth, predicted] = chosen || [null, null];
  const load = async (offset, signal) => {
    setBusy(true);
    setProblem(null);
    try {
      const page = await getJson(withQuery(`/cells/${cell.key}/predictions`, { which, truth, predicted, offset, limit: PAGE, attempt }), { signal });
      setPages((old) => (offset ? [...old, page] : [page]));
    } catch (error) {
      if (error.name !== "AbortError") setProblem(error);
    }
    setBusy(false);
  };
  useEffect(() => {
    const stop = new AbortController();
    setPages([]);
    load(0, stop.signal);
    return () => stop.abort();
  }, [which]);
  const total = pages.length ? pages[0].total : 0;
  const shown = pages.reduce((sum, page) => sum + page.images.length, 0);
  return html`<p class="controls"><${Switch} label="Which images" options=${[["worst", "surest mistakes"], ["wrong", "mistakes in order"], ["all", "all"]]} value=${which} onChange=${setWhich} />
      ${chosen && html`<button type="button" class="link" onClick=${onClear}>Show those of all classes</button>`}</p>
    ${problem && html`<${Failed} error=${problem} retry=${() => load(shown)} />`}
    ${pages.length > 0 && html`<p class="note">${count(total)} images${chosen ? " of this entry" : ""}. Below each: true → taken for, how sure.</p>`}
    ${pages.length > 0 && !total && html`<${Empty} title="There are none." />`}
    ${pages.filter((page) => page.images.length).map((page) => html`<${Gallery} key=${page.offset} images=${page.images} sheet=${page.sheet} across=${page.across} caption=${mistake(page.class_names)} />`)}
    <${More} shown=${shown} total=${total} loading=${busy} onMore=${() => load(shown)} />`;
}

/** How often a cell is right, as a line. */
export const accuracy = (result) => (result && result.test_error !== null ? percent(100 - result.test_error) : null);
