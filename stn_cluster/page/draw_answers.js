/** One row for each network: its input with the predicted grid, its output, its probabilities and guesses. */

import { html } from "./lib.js";
import { network } from "./formats.js";
import { GridLines, Picture } from "./draw_pixels.js";
import { Text } from "./parts.js";
import { to } from "./router.js";

const COLUMNS = 10; // classes that are shown side by side; of more, the likeliest
const LIKELIEST = 5;

/** Networks by what classifies: FCN beside CNN, each with its spatial transformers. */
function families(cells) {
  const found = new Map();
  for (const cell of cells) {
    const family = cell.model.replace(/^ST-/, "");
    if (!found.has(family)) found.set(family, []);
    found.get(family).push(cell);
  }
  return [...found];
}

/**
 * @param {{cells: any[], answers: Object<string, any>, turns: Object<string, any>, names: string[],
 *   onLayers: (key: string) => void, onTurn: ((angle: number) => void) | null}} props
 *   onTurn: turns the drawing by so much, where hands can
 */
export function Answers({ cells, answers, turns, names, onLayers, onTurn }) {
  const several = (field) => new Set(cells.map((cell) => cell[field])).size > 1;
  const shown = { distortion: several("distortion"), seed: several("seed") };
  return html`<div class="families">${families(cells).map(([family, members]) => html`<section key=${family}><h3><bdi>${family}</bdi></h3>
    <ul class="answers">${members.map((cell) => html`<${Row} key=${cell.key} cell=${cell} shown=${shown} answer=${answers[cell.key]} turned=${turns[cell.key]} names=${names} onLayers=${onLayers} onTurn=${onTurn} />`)}</ul></section>`)}</div>`;
}

function Row({ cell, shown, answer, turned, names, onLayers, onTurn }) {
  const name = network(cell.model, cell.transform);
  const of = [shown.distortion && cell.distortion, shown.seed && `seed ${cell.seed}`].filter(Boolean).join(", ");
  const nameOf = (index) => (names && names[index] !== undefined ? names[index] : String(index));
  const failed = answer && answer.error;
  const has = answer && !failed ? answer : null;
  const straight = has && !has.output;
  return html`<li class="answer" data-key=${cell.key}>
    <div class="answer-name"><a href=${to(`cells/${cell.key}`)}><bdi>${name}</bdi></a> ${of && html`<span class="soft"><bdi>${of}</bdi></span>`}</div>
    ${failed ? html`<p class="problem"><${Text} text=${answer.error} /></p>` : html`<div class="answer-body">
      <${Picture} image=${has && has.input} side=${cell.canvas} label=${has && has.grid ? "Input, with the predicted grid" : "Input"} size="92px">${has && has.grid && html`<${GridLines} grid=${has.grid} />`}</${Picture}>
      ${straight || (!has && cell.transform === "none") ? html`<span class="no-output" aria-hidden="true"></span>` : html`<${Picture} image=${has && has.output} label="Output of the transformer" size="92px" />`}
      <${Bars} probabilities=${has ? has.probabilities : null} names=${names} nameOf=${nameOf} />
      <div class="guesses">${has && html`<p class="guess-first"><bdi>${nameOf(has.first)}</bdi><small>${chance(has.probabilities[has.first])}</small></p>
        ${has.second !== null && html`<p class="guess-second"><span class="soft">or </span><bdi>${nameOf(has.second)}</bdi><small>${chance(has.probabilities[has.second])}</small></p>`}`}</div>
    </div>`}
    <div class="answer-foot"><${Turned} turned=${turned} onTurn=${onTurn} /><button type="button" class="link" aria-label=${`Layers of ${name} ${of}`.trim()} onClick=${() => onLayers(cell.key)}>Layers</button></div></li>`;
}

/** 0.994 -> 99 %; what is not quite certain is not 100 %. */
function chance(p) {
  if (p === null) return "not a number";
  if (p > 0.99 && p < 1) return `${(Math.floor(1000 * p) / 10).toFixed(1)} %`;
  return p > 0 && p < 0.005 ? "< 0.5 %" : `${Math.round(100 * p)} %`;
}

function Bars({ probabilities, names, nameOf }) {
  const n = probabilities ? probabilities.length : (names || []).length;
  const words = probabilities ? `Probabilities: ${likeliest(probabilities).map((index) => `${nameOf(index)}: ${chance(probabilities[index])}`).join(", ")}` : "Probabilities: nothing yet";
  if (n > COLUMNS || (names || []).some((name) => name.length > 2)) {
    return html`<ul class="likeliest" aria-label="Likeliest classes">${probabilities && likeliest(probabilities).map((index) => html`<li key=${index}><bdi>${nameOf(index)}</bdi> <i style=${{ width: `${100 * probabilities[index]}%` }}></i><small>${chance(probabilities[index])}</small></li>`)}</ul>`;
  }
  return html`<div class="bars" role="img" aria-label=${words}>${Array.from({ length: n }, (_, index) => {
    const p = probabilities ? probabilities[index] : 0;
    return html`<span key=${index}><b><i style=${{ height: `${100 * p}%` }}></i></b>${nameOf(index)}</span>`;
  })}</div>`;
}

const likeliest = (probabilities) => probabilities.map((_, index) => index).sort((a, b) => probabilities[b] - probabilities[a]).slice(0, LIKELIEST);

/** At which angles the first guess changed. */
function Turned({ turned, onTurn }) {
  if (!turned) return html`<span></span>`;
  if (turned.error) return html`<span class="note"><${Text} text=${turned.error} /></span>`;
  const way = (angle, sign, name) => angle !== null && (!onTurn ? `${angle}° ${name}` : html`<button type="button" class="link" title="Turn the drawing so far" aria-label=${`fails at ${angle} degrees to the ${name}; turn the drawing so far`} onClick=${() => onTurn(sign * angle)}>${angle}° ${name}</button>`);
  if (turned.left === null && turned.right === null) return html`<span class="fails">never fails: all around</span>`;
  const both = turned.left !== null && turned.right !== null;
  return html`<span class="fails">fails at ${way(turned.left, -1, "left")}${both && ", "}${way(turned.right, 1, "right")}</span>`;
}
