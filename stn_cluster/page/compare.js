/** The comparison of two cells on the same test images. */

import { html, useState } from "./lib.js";
import { withQuery } from "./api.js";
import { useData } from "./data.js";
import { count, network, percent, probability, signed } from "./formats.js";
import { Gallery, More } from "./gallery.js";
import { Empty, Facts, Heading, Text, notYet } from "./parts.js";
import { adjust, to, useTitle } from "./router.js";

const PAGE = 48; // images
const MOST_NAMES = 5000; // that a list of cells offers
const ACROSS = 16; // images in a row of a sheet

export function ComparePage({ route }) {
  const a = route.query.get("a") || "";
  const b = route.query.get("b") || "";
  useTitle("Compare");
  const ready = a && b && a !== b;
  const loaded = useData(ready ? withQuery("/compare", { a, b }) : null);
  return html`<${Heading}>Compare two cells</${Heading}>
    <${Choice} a=${a} b=${b} />
    ${!ready ? html`<${Empty} title=${a && a === b ? "These are the same cell." : "Choose two cells of one data set."}><p>Or shift-click two entries of the <a href=${to("matrix")}>matrix</a>.</p></${Empty}>`
    : notYet(loaded, "the comparison") || html`<${Compared} key=${`${a} ${b}`} found=${loaded.data} />`}`;
}

/** Two fields that complete a cell's name. */
function Choice({ a, b }) {
  const loaded = useData(withQuery("/matrix", { interval: false }));
  const cells = namesOf(loaded.data ? loaded.data.matrices : []);
  const byName = new Map(cells.map((one) => [one.name, one.key]));
  const byKey = new Map(cells.map((one) => [one.key, one.name]));
  const field = (id, key) => html`<label>${id.toUpperCase()}<input list="cells" value=${byKey.get(key) || key} placeholder="a cell's name" onChange=${(event) => {
    const wanted = event.currentTarget.value.trim();
    const found = byName.get(wanted) || (/^[0-9a-f]{16}$/.test(wanted) ? wanted : null);
    if (found || !wanted) adjust({ [id]: found });
  }} /></label>`;
  return html`<div class="choose-two">${field("a", a)}${field("b", b)}
    <button type="button" disabled=${!a && !b} onClick=${() => adjust({ a: b, b: a })}>Swap</button>
    <datalist id="cells">${cells.slice(0, MOST_NAMES).map((one) => html`<option key=${one.key} value=${one.name}></option>`)}</datalist></div>`;
}

/** Names of all cells that have a result; with their data set and recipe if there are several. */
export function namesOf(matrices) {
  return matrices.flatMap((matrix) => matrix.rows.flatMap((row) => row.entries.flatMap((entry) => (entry ? entry.cells : []).filter((one) => one.state === "succeeded").map((one) => ({
    key: one.key,
    name: `${network(row.model, row.transform)} on ${entry.distortion}, seed ${one.seed}${matrices.length > 1 ? `, ${matrix.dataset} ${matrix.recipe}` : ""}`,
  })))));
}

function Compared({ found }) {
  const { difference, low, high, p, n, b, c } = found;
  const told = low > 0 || high < 0;
  const sentence = told
    ? `B makes ${Math.abs(difference).toFixed(2)} points ${difference > 0 ? "more" : "fewer"} errors than A.`
    : "These two cannot be told apart on these images.";
  return html`<p class="headline"><span class="big">${signed(difference)}</span> <span>points, B − A</span></p>
    <p><strong>${sentence}</strong> ${Math.round(100 * found.level)} % interval ${signed(low)} to ${signed(high)} points; p = ${probability(p)} (<bdi>${found.test}</bdi>).</p>
    <${Interval} difference=${difference} low=${low} high=${high} />
    ${found.note && html`<p class="note"><${Text} text=${found.note} />.</p>`}
    <div class="sides">${["a", "b"].map((side) => html`<div key=${side} class="side"><h2>${side.toUpperCase()} <a href=${to(`cells/${found[`key_${side}`]}`)}><bdi>${found[`label_${side}`]}</bdi></a></h2>
      <p><strong>${percent(found[`error_${side}`])}</strong> <span class="soft">test error</span></p></div>`)}</div>
    <section><h2>What they get</h2><${Facts} rows=${[
      ["data set", html`<bdi>${found.dataset}</bdi>`],
      ["test images", found.base_images && found.base_images !== n ? `${count(n)} of ${count(found.base_images)} base images` : count(n)],
      ["only A right", count(b)], ["only B right", count(c)],
    ]} />
      <div class="columns"><${Only} title="Only A gets" cell=${found.key_a} images=${found.only_a} /><${Only} title="Only B gets" cell=${found.key_a} images=${found.only_b} /></div></section>
    <section><h2>What differs in their specs</h2><div class="scroll" tabindex="0" role="region" aria-label="Differences of the specs"><table><thead><tr><th scope="col">field</th><th scope="col">A</th><th scope="col">B</th></tr></thead>
      <tbody>${Object.entries(found.specs).map(([name, pair]) => html`<tr key=${name}><th scope="row"><bdi>${name}</bdi></th><td><${Text} text=${plain(pair.a)} /></td><td><${Text} text=${plain(pair.b)} /></td></tr>`)}</tbody></table></div></section>`;
}

const plain = (value) => (typeof value === "string" ? value : value === null ? "–" : JSON.stringify(value));

/** The difference and its interval on a line, with zero. */
function Interval({ difference, low, high }) {
  const most = Math.max(Math.abs(low), Math.abs(high), 0.1) * 1.15;
  const x = (value) => 300 + (280 * value) / most;
  return html`<div class="interval"><svg viewBox="0 0 600 44" role="img" aria-label=${`Difference ${signed(difference)}, from ${signed(low)} to ${signed(high)} points`}>
    <line class="zero" x1="300" x2="300" y1="2" y2="42" /><line class="range" x1=${x(low)} x2=${x(high)} y1="22" y2="22" /><circle cx=${x(difference)} cy="22" r="6" /></svg>
    <p class="note" aria-hidden="true"><span>← B is better</span><span>0</span><span>A is better →</span></p></div>`;
}

function Only({ title, cell, images }) {
  const [shown, setShown] = useState(PAGE);
  const pages = [];
  for (let start = 0; start < Math.min(shown, images.length); start += PAGE) pages.push(images.slice(start, start + PAGE));
  return html`<div><h3>${title} <span class="soft">(${count(images.length)}${images.length >= 500 ? ", the first" : ""})</span></h3>
    ${images.length ? pages.map((page, at) => html`<${Gallery} key=${at} images=${page.map((index) => ({ index }))} across=${ACROSS} sheet=${withQuery(`/cells/${cell}/images.png`, { index: page })} caption=${(image) => html`<span>#${image.index}</span>`} />`) : html`<p class="soft">None.</p>`}
    <${More} shown=${Math.min(shown, images.length)} total=${images.length} onMore=${() => setShown(shown + PAGE)} /></div>`;
}
