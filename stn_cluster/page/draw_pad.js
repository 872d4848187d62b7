/** The pad: strokes by mouse, touch, pen or keys, bright on dark as the data sets' digits are. */

import { html, useEffect, useRef, useState } from "./lib.js";
import { toBase64 } from "./draw_pixels.js";

const SIDE = 280; // of the pad
const SENT = 140; // of what the server gets
const WIDTH = 21; // of a stroke
const STEP = 10; // of an arrow key; with Shift 2
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @param {{onChange: (pixels: {side: number, channels: number, pixels: string} | null) => void}} props */
export function Pad({ onChange }) {
  const canvas = useRef(null);
  const strokes = useRef([]);
  const [count, setCount] = useState(0); // of strokes
  const [pen, setPen] = useState({ at: [SIDE / 2, SIDE / 2], down: false });
  const drawnBy = useRef(null); // the pointer that draws

  const changed = () => {
    draw(canvas.current, strokes.current);
    setCount(strokes.current.length);
    onChange(strokes.current.length ? pixelsOf(canvas.current) : null);
  };
  useEffect(() => draw(canvas.current, strokes.current), []);

  const at = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [(event.clientX - box.left) * (SIDE / box.width), (event.clientY - box.top) * (SIDE / box.height)];
  };
  const begin = (event) => {
    if (drawnBy.current !== null || event.button !== 0) return;
    drawnBy.current = event.pointerId;
    canvas.current.setPointerCapture(event.pointerId);
    strokes.current.push([at(event)]);
    setPen((now) => ({ ...now, down: false }));
    changed();
  };
  const move = (event) => {
    if (event.pointerId !== drawnBy.current) return;
    const all = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    strokes.current.at(-1).push(...(all.length ? all : [event]).map(at));
    changed();
  };
  const end = (event) => {
    if (event.pointerId === drawnBy.current) drawnBy.current = null;
  };
  const undo = () => {
    strokes.current.pop();
    setPen((now) => ({ ...now, down: false }));
    changed();
  };
  const clear = () => {
    strokes.current = [];
    setPen((now) => ({ ...now, down: false }));
    changed();
  };
  const press = (event) => {
    if (event.ctrlKey || event.metaKey ? event.key.toLowerCase() === "z" : event.key === "Backspace") undo();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.key === "Delete") clear();
    else if (event.key === " ") {
      if (!pen.down) {
        strokes.current.push([pen.at]);
        changed();
      }
      setPen({ ...pen, down: !pen.down });
    } else if (ARROWS[event.key]) {
      const step = event.shiftKey ? 2 : STEP;
      const next = pen.at.map((place, axis) => Math.min(SIDE, Math.max(0, place + step * ARROWS[event.key][axis])));
      if (pen.down) {
        strokes.current.at(-1).push(next);
        changed();
      }
      setPen({ ...pen, at: next });
    } else return;
    event.preventDefault();
  };

  const hint = "Arrow keys move the pen, Space puts it down and lifts it, Backspace undoes, Delete clears.";
  return html`<div class="pad">
    <canvas ref=${canvas} width=${SIDE} height=${SIDE} tabindex="0" role="application" aria-label=${`Pad to draw on. ${hint} The pen is ${pen.down ? "down" : "up"}.`}
      onPointerDown=${begin} onPointerMove=${move} onPointerUp=${end} onPointerCancel=${end} onLostPointerCapture=${end} onKeyDown=${press}></canvas>
    <i class=${`pen ${pen.down ? "is-down" : ""}`} aria-hidden="true" style=${{ left: `${(100 * pen.at[0]) / SIDE}%`, top: `${(100 * pen.at[1]) / SIDE}%` }}></i>
    ${count === 0 && html`<span class="pad-hint" aria-hidden="true">0 – 9</span>`}
  </div>
  <p class="actions"><button type="button" disabled=${!count} onClick=${undo}>Undo</button><button type="button" disabled=${!count} onClick=${clear}>Clear</button></p>
  <p class="note">Mouse, finger, pen or keys: ${hint}</p>`;
}

function draw(canvas, strokes) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#000";
  context.fillRect(0, 0, SIDE, SIDE);
  context.strokeStyle = "#fff";
  context.lineWidth = WIDTH;
  context.lineCap = "round";
  context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...stroke[0]);
    for (const place of stroke.length > 1 ? stroke.slice(1) : stroke) context.lineTo(...place);
    context.stroke();
  }
}

/** What is drawn, at half its size, grey. */
function pixelsOf(canvas) {
  const small = document.createElement("canvas");
  small.width = small.height = SENT;
  const context = small.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0, SENT, SENT);
  const { data } = context.getImageData(0, 0, SENT, SENT);
  return { side: SENT, channels: 1, pixels: toBase64(data.filter((_, index) => index % 4 === 0)) };
}
