/** What a cell's transformer does to images: input, predicted grid, output, as in the paper. */

import { html, useState } from "./lib.js";
import { withQuery } from "./api.js";
import { useSheet } from "./gallery.js";
import { Loading, Switch, Text } from "./parts.js";
import { useDark } from "./plot.js";

const CHOICES = [["random", "random images"], ["worst", "surest mistakes"], ["improved", "helped most"]];

/** @param {{cell: any, attempt: string | null}} props */
export function Transformations({ cell, attempt }) {
  const [choice, setChoice] = useState("random");
  const theme = useDark() ? "dark" : "light";
  const sheet = useSheet(withQuery(`/cells/${cell.key}/transformations.png`, { attempt, choice, count: 6, theme }));
  return html`<p><${Switch} label="Which images" options=${CHOICES} value=${choice} onChange=${setChoice} /></p>
    ${sheet.problem && html`<p class="problem" role="alert"><${Text} text=${sheet.problem} /></p>`}
    ${!sheet.problem && !sheet.address && html`<${Loading} of="the figure" />`}
    ${sheet.address && html`<div class="scroll" tabindex="0" role="region" aria-label="Figure"><img class="figure" src=${sheet.address} width=${Math.round(sheet.width / 2)} height=${Math.round(sheet.height / 2)} alt=${`Inputs (a), the sampling grids that the transformer predicts (b), and its outputs (c), of ${CHOICES.find(([id]) => id === choice)[1]}`} /></div>`}`;
}
