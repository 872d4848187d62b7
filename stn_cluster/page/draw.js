/** The view that draws: a digit or a picture, distorted by hand, and what every network makes of it. */

import { html, useCallback, useEffect, useMemo, useRef, useState } from "./lib.js";
import { postJson } from "./api.js";
import { useData } from "./data.js";
import { Empty, Heading, Text, notYet } from "./parts.js";
import { useTitle } from "./router.js";
import { Answers } from "./draw_answers.js";
import { Choice, NotHere, choiceOf } from "./draw_choice.js";
import { DistortByHand, PLAIN, distortOf } from "./draw_hands.js";
import { ImageFile } from "./draw_image.js";
import { Pad } from "./draw_pad.js";
import { Picture } from "./draw_pixels.js";
import { makeSender } from "./draw_sender.js";
import { LayersView } from "./layers.js";

await styled("/page/draw.css");

/** @param {{page: any, route: import("./router.js").Route}} props */
export function DrawPage({ route }) {
  useTitle("Draw");
  const loaded = useData("/draw");
  const choice = useMemo(() => loaded.data && choiceOf(loaded.data, route.query), [loaded.data, route.query]);
  return html`<${Heading}>Draw</${Heading}>${notYet(loaded, "what can be drawn into") || html`<${Desk} choice=${choice} />`}`;
}

function Desk({ choice }) {
  const { dataset, cells } = choice;
  if (!dataset) return html`<${Empty} title="No network has been trained here yet."><p>Once a cell has succeeded, this view shows what its network makes of your drawing.</p></${Empty}>`;
  return html`<${Choice} choice=${choice} />
    ${cells.length > 0 && html`<${Bench} key=${dataset.name} dataset=${dataset} cells=${cells} />`}
    <${NotHere} cells=${choice.absent} />`;
}

/** @param {{dataset: any, cells: any[]}} props */
function Bench({ dataset, cells }) {
  const [pixels, setPixels] = useState(null); // what is drawn, as the server takes it; null: nothing
  const [hands, setHands] = useState(PLAIN);
  const [layersOf, setLayersOf] = useState(null);
  const [turns, setTurns] = useState({});
  const [turning, setTurning] = useState(false);
  const distort = JSON.stringify(distortOf(hands)); // a text, so that hands that do the same are the same
  const drawing = useMemo(() => pixels && { dataset: dataset.name, ...pixels, distort: JSON.parse(distort) }, [pixels, distort, dataset.name]);
  const keys = useMemo(() => cells.map((cell) => cell.key), [cells]);
  const { found, problem, setProblem } = useAnswers(drawing, keys);
  useEffect(() => setTurns({}), [drawing]);

  const asked = useRef(drawing);
  asked.current = drawing;
  const turn = useCallback(async () => {
    setTurning(true);
    try {
      const { answers } = await postJson("/draw/breaking", { ...drawing, keys });
      if (asked.current === drawing) setTurns(Object.fromEntries(answers.map((one) => [one.key, one])));
    } catch (error) {
      setProblem(error.message);
    }
    setTurning(false);
  }, [drawing, keys]);
  // A drawing whose corners or points were moved was turned before that: no hands do the same.
  const show = hands.kind === "similarity" ? (angle) => setHands({ ...hands, angle: around(hands.angle + angle) }) : null;

  const answers = found ? found.answers : {};
  const seen = cells.find((cell) => answers[cell.key] && answers[cell.key].input);
  const isDigits = dataset.kind === "digits";
  return html`<div class="desk">
      <section class="desk-pad"><h2>${isDigits ? "Draw your number here" : "Put an image here"}</h2>
        ${isDigits ? html`<${Pad} onChange=${setPixels} />` : html`<${ImageFile} dataset=${dataset} onChange=${setPixels} />`}</section>
      <section class="desk-small"><h2>${isDigits ? "Downsampled drawing" : "As the data set's images are"}</h2>
        <${Picture} image=${found && found.drawing} side=${dataset.frame} label="The drawing as the networks get it, before it is distorted" size="140px" />
        <p class="note">${dataset.frame} × ${dataset.frame} pixels${isDigits ? `, scaled and centred as in ${dataset.name}` : ""}</p></section>
      <section class="desk-hands"><h2>Distort it by hand</h2>
        <${DistortByHand} hands=${hands} onChange=${setHands} frame=${dataset.frame} cell=${seen || cells[0]} image=${seen && answers[seen.key].input} /></section>
    </div>
    <section class="desk-answers"><h2>What the networks see</h2>
      <p class="actions"><button type="button" class="primary" disabled=${!drawing || turning} onClick=${turn}>Turn it until it fails</button>
        <span class="note" role="status">${turning ? "Turning it by one degree at a time, both ways …" : steadiest(cells, turns)}</span></p>
      ${problem && html`<p class="problem" role="alert"><${Text} text=${problem} /></p>`}
      <${Answers} cells=${cells} answers=${answers} turns=${turns} names=${dataset.class_names} onLayers=${setLayersOf} onTurn=${show} />
    </section>
    <${LayersView} cells=${cells} drawing=${drawing} shownKey=${layersOf} onKey=${setLayersOf} names=${dataset.class_names} />`;
}

/** The answers of networks to the newest drawing. */
function useAnswers(drawing, keys) {
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  const sender = useMemo(() => makeSender({
    send: (body, signal) => postJson("/draw", body, { signal }),
    onAnswer: (answer) => {
      setFound({ drawing: answer.drawing, answers: Object.fromEntries(answer.answers.map((one) => [one.key, one])) });
      setProblem(null);
    },
    onProblem: (error) => setProblem(error.message),
  }), []);
  useEffect(() => sender.drop, [sender]);
  useEffect(() => {
    if (drawing) {
      sender.push({ ...drawing, keys });
    } else {
      sender.drop();
      setFound(null);
      setProblem(null);
    }
  }, [sender, drawing, keys]);
  return { found, problem, setProblem };
}

/** An angle as one of -180 to 180 degrees. */
const around = (angle) => (Math.abs(angle) <= 180 ? angle : angle - 360 * Math.sign(angle));

/** Which network can be turned furthest. */
function steadiest(cells, turns) {
  const found = cells.filter((cell) => turns[cell.key] && !turns[cell.key].error);
  if (!found.length) return "";
  const least = (cell) => Math.min(turns[cell.key].left ?? 181, turns[cell.key].right ?? 181);
  const [best] = [...found].sort((a, b) => least(b) - least(a));
  const angle = least(best);
  return `${best.model}${best.transform === "none" ? "" : ` ${best.transform}`} holds its guess longest: ${angle > 180 ? "all around" : `up to ${angle - 1}°`}`;
}

/** Loads a style sheet, which only this view needs. */
function styled(address) {
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: address });
  const loaded = new Promise((done) => {
    link.onload = link.onerror = done;
  });
  document.head.append(link);
  return loaded;
}
