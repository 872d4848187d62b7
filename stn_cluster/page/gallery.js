/** Images of a test set: one picture of all of them, of which each place shows its part. */

import { html, useEffect, useState } from "./lib.js";
import { request } from "./api.js";
import { count, percent } from "./formats.js";
import { Loading, Text } from "./parts.js";

const SHOWN = 64; // pixels across

/** Loads a sheet: its address as a blob, and its size; the error's line if there is none. */
export function useSheet(url) {
  const [sheet, setSheet] = useState({ url, address: null, problem: null });
  useEffect(() => {
    if (!url) return undefined;
    let gone = false;
    let made = null;
    (async () => {
      try {
        const blob = await (await request(url)).blob();
        made = URL.createObjectURL(blob);
        const image = new Image();
        image.src = made;
        await image.decode();
        if (!gone) setSheet({ url, address: made, width: image.naturalWidth, height: image.naturalHeight, problem: null });
      } catch (error) {
        if (!gone) setSheet({ url, address: null, problem: error.message });
      }
    })();
    return () => {
      gone = true;
      if (made) URL.revokeObjectURL(made);
    };
  }, [url]);
  return sheet.url === url ? sheet : { url, address: null, problem: null };
}

/**
 * A gallery of images with captions.
 * @param {{images: {index: number}[], sheet: string | null, across: number, caption: (image: any) => any}} props
 */
export function Gallery({ images, sheet, across, caption }) {
  const loaded = useSheet(sheet);
  const columns = Math.min(across, images.length);
  const rows = Math.ceil(images.length / columns);
  return html`${loaded.problem && html`<p class="note">The images cannot be drawn: <${Text} text=${loaded.problem} /></p>`}
    <ul class="gallery">${images.map((image, place) => {
      const style = loaded.address ? {
        backgroundImage: `url("${loaded.address}")`,
        backgroundSize: `${columns * SHOWN}px ${rows * SHOWN}px`,
        backgroundPosition: `${-(place % columns) * SHOWN}px ${-Math.floor(place / columns) * SHOWN}px`,
      } : {};
      return html`<li key=${`${image.index} ${place}`}>${!loaded.problem && html`<span class="picture" role="img" aria-label=${`Test image ${image.index}`} style=${style}></span>`}${caption(image)}</li>`;
    })}</ul>`;
}

/** What a network took an image for. */
export function mistake(names) {
  const name = (index) => (names && names[index] !== undefined ? names[index] : String(index));
  return (image) => html`<span><bdi>${name(image.truth)}</bdi> → <strong><bdi>${name(image.predicted)}</bdi></strong>${image.confidence !== null && html`<br />${percent(100 * image.confidence, 0)}`}<br />#${image.index}</span>`;
}

/** Rows of a gallery, and a button for more of them. */
export function More({ shown, total, onMore, loading }) {
  if (loading) return html`<${Loading} of="images" />`;
  if (shown >= total) return null;
  return html`<button type="button" onClick=${onMore}>Show more (${count(total - shown)} left)</button>`;
}
