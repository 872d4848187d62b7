/** A layer's maps or units on canvases; the unit under the pointer, its value and its receptive field. */

import { html, useLayoutEffect, useRef } from "./lib.js";
import { count, counted, number } from "./formats.js";
import { GridLines, paint } from "./draw_pixels.js";

const LINE = 32; // units of a vector in a line
const [SMALL, LARGE] = [48, 112]; // px of one of many maps, and of one of few
const FEW = 3;
const UNIT = 18; // px of a unit of a vector
const ARROWS = { ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0], PageUp: [-1, 0, 0], PageDown: [1, 0, 0] };

/** A layer of the server with its bytes, and with the shape in which they are shown. */
export function withValues(layer, fromBase64) {
  if (layer.kind === "grid") return layer;
  const bytes = fromBase64(layer.pixels);
  const [n] = layer.shape;
  const across = Math.min(n, LINE);
  const shown = layer.kind === "images" ? layer.shape : [1, Math.ceil(n / across), across];
  const filled = new Uint8Array(shown[0] * shown[1] * shown[2]);
  filled.set(bytes);
  return { ...layer, bytes: filled, shown };
}

const placeOf = (layer, { map, row, column }) => (map * layer.shown[1] + row) * layer.shown[2] + column;
const unitsOf = (layer) => layer.shape.reduce((product, one) => product * one, 1);
const valueOf = (layer, unit) => layer.low + (layer.bytes[placeOf(layer, unit)] / 255) * (layer.high - layer.low);

/** How many values a layer has, in words. */
function sizeOf({ kind, shape, maps }) {
  if (kind === "grid") return `${shape[0]} × ${shape[1]} points`;
  if (kind === "vector") return counted(shape[0], "unit");
  const more = maps > shape[0] ? `, the first ${shape[0]} of ${count(maps)}` : "";
  return `${counted(shape[0], "map")} of ${shape[1]} × ${shape[2]}${more}`;
}

/** One layer: its name, size and range, and its maps unless they are hidden. */
export function Layer({ layer, layers, shown, onShow, unit, onUnit }) {
  const range = layer.kind === "grid" ? "" : ` · ${number(layer.low)} (dark) to ${number(layer.high)} (bright)`;
  return html`<section class="layer"><h3><span><bdi>${layer.name}</bdi> <small>${sizeOf(layer)}${range}</small></span>
      <button type="button" aria-expanded=${String(shown)} aria-label=${`${shown ? "Hide" : "Show"} ${layer.name}`} onClick=${onShow}>${shown ? "Hide" : "Show"}</button></h3>
    ${shown && (layer.kind === "grid" ? html`<${Grid} layer=${layer} given=${layers[0]} />` : html`<${Maps} layer=${layer} unit=${unit} onUnit=${onUnit} />`)}</section>`;
}

function Grid({ layer, given }) {
  const [rows, columns] = layer.shape;
  return html`<span class="pixels grid-of-layer"><${MapCanvas} layer=${given} map=${0} /><${GridLines} grid=${{ rows, columns, points: layer.points }} /></span>`;
}

function MapCanvas({ layer, map }) {
  const canvas = useRef(null);
  const [, height, width] = layer.shown;
  useLayoutEffect(() => {
    paint(canvas.current, layer.bytes.subarray(map * height * width, (map + 1) * height * width), width, height, 1);
  }, [layer, map]);
  return html`<canvas ref=${canvas} width=${width} height=${height}></canvas>`;
}

function Maps({ layer, unit, onUnit }) {
  const [maps, height, width] = layer.shown;
  const zoom = layer.kind === "vector" ? UNIT : Math.max(1, Math.round((maps <= FEW ? LARGE : SMALL) / width));
  const choose = (map, row, column) => {
    const next = { layer: layer.name, map: within(map, maps), row: within(row, height), column: within(column, width) };
    if (placeOf(layer, next) < unitsOf(layer)) onUnit(next);
  };
  const point = (event) => {
    const tile = event.target.closest("[data-map]");
    if (!tile) return;
    const box = tile.getBoundingClientRect();
    choose(Number(tile.dataset.map), Math.floor(((event.clientY - box.top) / box.height) * height), Math.floor(((event.clientX - box.left) / box.width) * width));
  };
  const press = (event) => {
    const way = ARROWS[event.key];
    if (!way) return;
    event.preventDefault();
    const now = unit || { map: 0, row: 0, column: 0 };
    if (unit) choose(now.map + way[0], now.row + way[1], now.column + way[2]);
    else choose(0, 0, 0);
  };
  const label = `${layer.name}: arrow keys choose a unit, Page Up and Page Down a map`;
  return html`<div class="maps" tabindex="0" role="application" aria-label=${label} onPointerMove=${point} onPointerDown=${point} onKeyDown=${press}>
    ${Array.from({ length: maps }, (_, map) => html`<span key=${map} class="pixels" data-map=${map} style=${{ width: `${zoom * width}px` }}><${MapCanvas} layer=${layer} map=${map} />
      ${unit && unit.map === map && html`<${Box} from=${[unit.row, unit.column]} size=${1} height=${height} width=${width} />`}</span>`)}</div>`;
}

const within = (place, size) => Math.min(size - 1, Math.max(0, place));

/** A frame around some pixels of an image. */
function Box({ from: [row, column], size, height, width }) {
  const [top, left] = [Math.max(0, row), Math.max(0, column)];
  const [bottom, right] = [Math.min(height, row + size), Math.min(width, column + size)];
  return html`<i class="unit-box" style=${{ left: `${(100 * left) / width}%`, top: `${(100 * top) / height}%`, width: `${(100 * (right - left)) / width}%`, height: `${(100 * (bottom - top)) / height}%` }}></i>`;
}

/** The unit that is pointed at: its value, and the pixels that it sees. */
export function SeenBy({ unit, layers, names }) {
  const layer = unit && layers.find((one) => one.name === unit.layer);
  const isThere = layer && layer.shown && unit.map < layer.shown[0] && unit.row < layer.shown[1] && unit.column < layer.shown[2];
  if (!isThere) return html`<aside class="seen-by"><h3>A unit</h3><p class="note">Point at a unit, or focus a layer and use the arrow keys, to see its value and the pixels that it sees.</p></aside>`;
  const field = layer.receptive;
  const given = field && layers.find((one) => one.name === field.of);
  const from = field && [field.start + unit.row * field.stride, field.start + unit.column * field.stride];
  const index = unit.row * layer.shown[2] + unit.column;
  const isLast = layer === layers.at(-1);
  const where = layer.kind === "vector" ? `unit ${isLast && names?.[index] !== undefined ? names[index] : index + 1}` : `map ${unit.map + 1}, row ${unit.row + 1}, column ${unit.column + 1}`;
  return html`<aside class="seen-by"><h3>A unit</h3>
    <p role="status"><bdi>${layer.name}</bdi>, ${where}: <strong>${number(valueOf(layer, unit), 3)}</strong>${field && html`<br />sees ${field.size} × ${field.size} pixels of the ${field.of}`}${!field && layer.kind === "vector" && html`<br />sees all of its input`}</p>
    ${given && html`<span class="pixels seen-image"><${MapCanvas} layer=${given} map=${0} /><${Box} from=${from} size=${field.size} height=${given.shown[1]} width=${given.shown[2]} /></span>`}</aside>`;
}
