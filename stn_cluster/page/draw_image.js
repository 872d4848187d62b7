/** An image file, dropped or chosen, decoded by the browser and cut to a square. */

import { html, useRef, useState } from "./lib.js";
import { toBase64 } from "./draw_pixels.js";
import { Text } from "./parts.js";

const LARGEST = 50e6; // bytes of a file
const MOST = 512; // pixels a side that the server takes

/** @param {{dataset: any, onChange: (pixels: any) => void}} props */
export function ImageFile({ dataset, onChange }) {
  const canvas = useRef(null);
  const [name, setName] = useState(null);
  const [problem, setProblem] = useState(null);
  const [over, setOver] = useState(false);
  const take = async (file) => {
    if (!file) return;
    try {
      if (file.size > LARGEST) throw new Error("it has more than 50 MB");
      const bitmap = await createImageBitmap(file);
      onChange(square(canvas.current, bitmap, dataset));
      setName(file.name);
      setProblem(null);
    } catch (error) {
      setProblem(`${file.name} cannot be read as an image: ${error.message}`);
    }
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files[0]);
  };
  const drag = (event) => {
    event.preventDefault();
    setOver(true);
  };
  const paste = (event) => take(event.clipboardData.files[0]);
  return html`<div class=${`pad drop ${over ? "is-over" : ""}`} onDragOver=${drag} onDragLeave=${() => setOver(false)} onDrop=${drop} onPaste=${paste}>
      <canvas ref=${canvas} width="280" height="280" role="img" aria-label=${name ? `The image ${name}` : "No image yet"}></canvas>
      ${name === null && html`<span class="pad-hint" aria-hidden="true">drop an image here</span>`}</div>
    <p><label class="file">Image file <input type="file" accept="image/*" onChange=${(event) => take(event.currentTarget.files[0])} /></label></p>
    ${problem && html`<p class="problem" role="alert"><${Text} text=${problem} /></p>`}
    <p class="note">The middle of it is used, as a square, ${dataset.channels === 1 ? "in grey" : "in colour"}. It goes to this server only.</p>`;
}

/** Shows a square of an image, and gives its pixels. */
function square(shown, bitmap, { frame, channels, background }) {
  const side = Math.min(MOST, Math.max(64, frame > 128 ? frame : 2 * frame));
  const small = document.createElement("canvas");
  small.width = small.height = side;
  for (const canvas of [shown, small]) {
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const [red, green = red, blue = red] = [...background];
    context.fillStyle = `rgb(${red} ${green} ${blue})`; // where the image is transparent
    context.fillRect(0, 0, canvas.width, canvas.height);
    const short = Math.min(bitmap.width, bitmap.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, (bitmap.width - short) / 2, (bitmap.height - short) / 2, short, short, 0, 0, canvas.width, canvas.height);
  }
  const { data } = small.getContext("2d").getImageData(0, 0, side, side);
  const content = new Uint8Array(side * side * channels);
  for (let pixel = 0; pixel < side * side; pixel += 1) {
    const [red, green, blue] = data.subarray(4 * pixel, 4 * pixel + 3);
    if (channels === 3) content.set([red, green, blue], 3 * pixel);
    else content[pixel] = Math.round(0.299 * red + 0.587 * green + 0.114 * blue); // Rec. 601, as in PIL
  }
  return { side, channels, pixels: toBase64(content) };
}
