/** The layers of one network, one by one: what each makes of the drawing, and what each unit sees. */

import { html, useEffect, useMemo, useRef, useState } from "./lib.js";
import { postJson } from "./api.js";
import { makeSender } from "./draw_sender.js";
import { fromBase64 } from "./draw_pixels.js";
import { Select, Text } from "./parts.js";
import { Layer, SeenBy, withValues } from "./layer_maps.js";

const GAP = 400; // ms between two requests
const HIDDEN = /^localisation net/; // until they are asked for

/**
 * @param {{cells: any[], drawing: any, shownKey: string | null, onKey: (key: string) => void, names: string[]}} props
 */
export function LayersView({ cells, drawing, shownKey, onKey, names }) {
  const cell = cells.find((one) => one.key === shownKey);
  const [layers, setLayers] = useState(null);
  const [problem, setProblem] = useState(null);
  const [switched, setSwitched] = useState({}); // by name: shown or not, as it was chosen
  const [unit, setUnit] = useState(null); // {layer, map, row, column}
  const heading = useRef(null);
  const sender = useMemo(() => makeSender({
    send: (body, signal) => postJson("/draw/layers", body, { signal }),
    onAnswer: (answer) => {
      setLayers(answer.layers.map((layer) => withValues(layer, fromBase64)));
      setProblem(null);
    },
    onProblem: (error) => setProblem(error.message),
    gap: GAP,
  }), []);
  const key = cell ? cell.key : null;
  useEffect(() => {
    sender.drop();
    setLayers(null);
    setUnit(null);
    setProblem(null);
    if (key !== null && heading.current) heading.current.scrollIntoView({ block: "nearest" });
  }, [sender, key]);
  useEffect(() => {
    if (drawing && key !== null) {
      sender.push({ ...drawing, key });
    } else {
      sender.drop();
      setLayers(null);
    }
  }, [sender, drawing, key]);
  useEffect(() => sender.drop, [sender]);

  const options = [["", "none"], ...cells.map((one) => [one.key, one.label])];
  const isShown = (name) => switched[name] ?? !HIDDEN.test(name);
  const all = (on) => setSwitched(Object.fromEntries((layers || []).map((layer) => [layer.name, on])));
  return html`<section class="layers"><h2 ref=${heading}>Layers</h2>
    <div class="controls"><${Select} label="Of" options=${options} value=${key || ""} onChange=${onKey} />
      ${layers && html`<button type="button" onClick=${() => all(true)}>Show all</button><button type="button" onClick=${() => all(false)}>Hide all</button>`}</div>
    ${key === null && html`<p class="note">Choose a network, to see what each of its layers makes of the drawing.</p>`}
    ${key !== null && !drawing && html`<p class="note">Nothing is drawn yet.</p>`}
    ${problem && html`<p class="problem" role="alert"><${Text} text=${problem} /></p>`}
    ${layers && html`<div class="layers-columns"><div class="layers-list">${layers.map((layer, index) => html`<${Layer} key=${layer.name} layer=${layer} layers=${layers} names=${index === layers.length - 1 ? names : null} shown=${isShown(layer.name)}
        onShow=${() => setSwitched({ ...switched, [layer.name]: !isShown(layer.name) })} unit=${unit && unit.layer === layer.name ? unit : null} onUnit=${setUnit} />`)}</div>
      <${SeenBy} unit=${unit} layers=${layers} names=${names} /></div>`}
  </section>`;
}
