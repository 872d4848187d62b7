/** Handles that distort a drawing by hand: sliders, four corners, or 4 x 4 control points. */

import { html, useRef, useState } from "./lib.js";
import { Picture } from "./draw_pixels.js";
import { Switch } from "./parts.js";

const KINDS = [["similarity", "Turn, scale, shift"], ["corners", "4 corners"], ["points", "4 × 4 points"]];
const MARGIN = 1.25; // of the board around the image
const FURTHEST = 4; // halves of a frame, as the server takes it
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const CORNERS = [[-1, -1], [1, -1], [1, 1], [-1, 1]]; // clockwise from upper left, as the server takes them
const NAMES = ["upper left corner", "upper right corner", "lower right corner", "lower left corner"];
const LINE = [-1, -1 / 3, 1 / 3, 1];
const POINTS = LINE.flatMap((y) => LINE.map((x) => [x, y]));

/** Not distorted. */
export const PLAIN = { kind: "similarity", angle: 0, scale: 1, shift: [0, 0], corners: CORNERS, points: POINTS };

/** What the server is told of hands; null: nothing is distorted. */
export function distortOf(hands) {
  const { kind, angle, scale, shift } = hands;
  if (kind === "similarity") return angle === 0 && scale === 1 && shift[0] === 0 && shift[1] === 0 ? null : { kind, angle, scale, shift };
  const moved = hands[kind].some((place, index) => place.some((one, axis) => one !== PLAIN[kind][index][axis]));
  return moved ? { kind, [kind]: hands[kind] } : null;
}

/**
 * @param {{hands: typeof PLAIN, onChange: (hands: any) => void, frame: number, cell: any, image: any}} props
 *   frame: of the data set, in px; cell: one whose input `image` is
 */
export function DistortByHand({ hands, onChange, frame, cell, image }) {
  const change = (fields) => onChange({ ...hands, ...fields });
  const { kind, angle, scale, shift } = hands;
  const half = frame / 2;
  return html`<p><${Switch} label="How to distort it" options=${KINDS} value=${kind} onChange=${(next) => change({ kind: next })} /></p>
    <div class="hands"><${Board} kind=${kind} places=${kind === "similarity" ? null : hands[kind]} cell=${cell} image=${image} onMove=${(places) => change({ [kind]: places })} />
    <div class="hands-side">${kind === "similarity"
      ? html`<${Slider} label="Angle" unit="°" least=${-180} most=${180} step=${1} value=${angle} onChange=${(value) => change({ angle: value })} />
        <${Slider} label="Scale" unit="×" least=${0.3} most=${3} step=${0.01} value=${scale} onChange=${(value) => change({ scale: value })} />
        <${Slider} label="Shift right" unit="px" least=${-half} most=${half} step=${0.5} value=${shift[0]} onChange=${(value) => change({ shift: [value, shift[1]] })} />
        <${Slider} label="Shift down" unit="px" least=${-half} most=${half} step=${0.5} value=${shift[1]} onChange=${(value) => change({ shift: [shift[0], value] })} />`
      : html`<p class="note">Drag a handle, or focus it and use the arrow keys (with Shift in larger steps).</p>`}
      <p><button type="button" disabled=${distortOf(hands) === null} onClick=${() => onChange({ ...PLAIN, kind })}>Straighten</button></p></div></div>`;
}

function Slider({ label, unit, least, most, step, value, onChange }) {
  const read = (event) => {
    const typed = event.currentTarget.valueAsNumber;
    if (Number.isFinite(typed)) onChange(Math.min(most, Math.max(least, typed)));
  };
  // What is being typed stays as it is, also while answers arrive and all is drawn anew.
  const [typed, setTyped] = useState(null);
  const type = (event) => {
    setTyped(event.currentTarget.value);
    read(event);
  };
  const limits = { min: least, max: most, step };
  return html`<div class="slider"><span>${label}</span>
    <input type="range" aria-label=${label} ...${limits} value=${value} onInput=${read} />
    <span><input type="number" aria-label=${`${label} in ${{ "°": "degrees", "×": "times", px: "pixels" }[unit]}`} ...${limits} value=${typed ?? value} onInput=${type} onChange=${() => setTyped(null)} onBlur=${() => setTyped(null)} /> ${unit}</span></div>`;
}

/** The distorted image, with handles in places of the frame's square of -1 to 1. */
function Board({ kind, places, cell, image, onMove }) {
  const board = useRef(null);
  const held = useRef(null);
  const canvas = cell.canvas / cell.frame; // half of its side, in halves of the frame's
  const reach = canvas * (places ? MARGIN : 1);
  const percent = (place) => `${50 + (50 * place) / reach}%`;
  const put = (index, place) => {
    const limit = Math.min(reach, FURTHEST);
    const next = place.map((one) => Math.round(1000 * Math.min(limit, Math.max(-limit, one))) / 1000);
    onMove(places.map((old, at) => (at === index ? next : old)));
  };
  const hold = (index) => (event) => {
    if (event.button !== 0) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    held.current = index;
  };
  const drag = (event) => {
    if (held.current === null) return;
    const box = board.current.getBoundingClientRect();
    put(held.current, [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((part) => (2 * part - 1) * reach));
  };
  const letGo = () => {
    held.current = null;
  };
  const press = (index) => (event) => {
    const way = ARROWS[event.key];
    if (!way || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const step = event.shiftKey ? 0.2 : 0.05;
    put(index, places[index].map((one, axis) => one + step * way[axis]));
  };
  const name = (index) => (kind === "corners" ? NAMES[index] : `point in row ${Math.floor(index / 4) + 1}, column ${(index % 4) + 1}`);
  const side = `${(100 * canvas) / reach}%`;
  return html`<div class="board" ref=${board}>
    <div class="board-image" style=${{ width: side, height: side }}><${Picture} image=${image} side=${cell.canvas} label="The distorted drawing, as the networks get it" /></div>
    ${places && html`<svg viewBox=${`${-reach} ${-reach} ${2 * reach} ${2 * reach}`} aria-hidden="true">${linesOf(kind).map((line, index) => html`<polyline key=${index} points=${line.map((at) => places[at].join(",")).join(" ")} />`)}</svg>
      ${places.map((place, index) => html`<button key=${index} type="button" class="handle" aria-label=${`${name(index)}: ${place[0].toFixed(2)} right, ${place[1].toFixed(2)} down; arrow keys move it`}
        style=${{ left: percent(place[0]), top: percent(place[1]) }} onPointerDown=${hold(index)} onPointerMove=${drag} onPointerUp=${letGo} onPointerCancel=${letGo} onKeyDown=${press(index)}></button>`)}`}
  </div>`;
}

const FOUR = [0, 1, 2, 3];
/** Which handles are joined by lines. */
const linesOf = (kind) => (kind === "corners" ? [[0, 1, 2, 3, 0]] : [...FOUR.map((row) => FOUR.map((column) => 4 * row + column)), ...FOUR.map((column) => FOUR.map((row) => 4 * row + column))]);
