/** Pixels: to and from the server's base64, on canvases, and grids on top of them. */

import { html, useLayoutEffect, useRef } from "./lib.js";

const CHUNK = 8192;

/** Bytes as base64. @param {Uint8Array | Uint8ClampedArray} content */
export function toBase64(content) {
  let text = "";
  for (let begin = 0; begin < content.length; begin += CHUNK) {
    text += String.fromCharCode(...content.subarray(begin, begin + CHUNK));
  }
  return btoa(text);
}

/** Base64 as bytes. @param {string} text */
export const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/**
 * Draws bytes onto a canvas of their own size.
 * @param {HTMLCanvasElement} canvas
 * @param {Uint8Array} content height * width * channels of 0 to 255
 */
export function paint(canvas, content, width, height, channels) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const data = new ImageData(width, height);
  for (let from = 0, to = 0; to < data.data.length; from += channels, to += 4) {
    data.data[to] = content[from];
    data.data[to + 1] = content[from + (channels === 3 ? 1 : 0)];
    data.data[to + 2] = content[from + (channels === 3 ? 2 : 0)];
    data.data[to + 3] = 255;
  }
  canvas.getContext("2d").putImageData(data, 0, 0);
}

/**
 * An image of the server, or an empty place.
 * @param {{image: {side: number, channels: number, pixels: string} | null, side?: number, label: string, size?: string, children?: any}} props
 */
export function Picture({ image, side = 28, label, size, children }) {
  const canvas = useRef(null);
  useLayoutEffect(() => {
    if (image) paint(canvas.current, fromBase64(image.pixels), image.side, image.side, image.channels);
    else canvas.current.getContext("2d").clearRect(0, 0, canvas.current.width, canvas.current.height);
  }, [image]);
  return html`<span class="pixels" style=${size ? { width: size } : undefined}><canvas ref=${canvas} width=${side} height=${side} role="img" aria-label=${image ? label : `${label}: nothing yet`}></canvas>${children}</span>`;
}

/**
 * Lines of a sampling grid, over the image that it samples.
 * @param {{grid: {rows: number, columns: number, points: number[][]}}} props points: row by row, the image is -1 to 1
 */
export function GridLines({ grid }) {
  const { rows, columns, points } = grid;
  const line = (places) => places.map(([x, y]) => `${x},${y}`).join(" ");
  const across = Array.from({ length: rows }, (_, row) => points.slice(row * columns, (row + 1) * columns));
  const down = Array.from({ length: columns }, (_, column) => across.map((one) => one[column]));
  const edge = [...across[0], ...down[columns - 1], ...[...across[rows - 1]].reverse(), ...[...down[0]].reverse()];
  return html`<svg class="grid-lines" viewBox="-1 -1 2 2" aria-hidden="true">
    ${across.slice(1, -1).map((places, index) => html`<polyline key=${`a${index}`} points=${line(places)} />`)}
    ${down.slice(1, -1).map((places, index) => html`<polyline key=${`d${index}`} points=${line(places)} />`)}
    <polygon points=${line(edge)} /></svg>`;
}
