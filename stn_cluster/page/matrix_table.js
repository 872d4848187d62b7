/** The matrix of a data set and recipe: a table whose entries are opened, compared, trained again. */

import { html, useLayoutEffect, useMemo, useRef, useState } from "./lib.js";
import { entryId } from "./job_model.js";
import { MatrixEntry } from "./matrix_entry.js";
import { meanOf, rowName, scaleOf, textOf, valueOf } from "./matrix_values.js";
import { inSight } from "./virtual.js";

const ALL = 60; // rows that are drawn at once; of more, only those in sight
const ROW = 58; // height in pixels of a row of those

/**
 * @param {{matrix: any, switches: any, model: any, version: number, chosen: any[], rerun: boolean,
 *   onOpen: (place: any, shift: boolean) => void, onChoose: (place: any) => void, onAgain: (place: any) => void,
 *   onBase: (name: string) => void}} props
 */
export function MatrixTable(props) {
  const { matrix, switches, model, chosen, rerun } = props;
  const { rows, columns } = matrix;
  const base = rows.find((row) => rowName(row) === switches.base) || null;
  const values = useMemo(
    () => rows.map((row) => columns.map((_, c) => row.entries[c] && valueOf(row.entries[c], base && base.entries[c], switches))),
    [rows, columns, base, switches],
  );
  const scales = useMemo(() => columns.map((_, c) => scaleOf(values.map((row) => row[c] ?? null))), [values]);
  const mean = columns.length > 1 && switches.show !== "p";
  const box = useRef(null);
  const [first, end, look] = useRowsInSight(box, rows.length);
  const place = (text) => {
    const [r, c] = text.split(" ").map(Number);
    return { matrix, row: rows[r], entry: rows[r].entries[c] };
  };
  const on = handlers(props, place);
  return html`<div class=${`scroll matrix-box ${rows.length > ALL ? "tall" : ""}`} ref=${box} onScroll=${look} tabindex="0" role="region" aria-label=${`Matrix of ${matrix.dataset}, ${matrix.recipe}`}>
    <table class="matrix" onClick=${on.click} onKeyDown=${on.key}>
      <thead><tr><th scope="col">network</th>${columns.map((name) => html`<th key=${name} scope="col"><bdi>${name}</bdi></th>`)}${mean && html`<th scope="col">mean</th>`}</tr></thead>
      <tbody>
        ${first > 0 && html`<tr class="space" aria-hidden="true"><td style=${{ height: `${first * ROW}px` }}></td></tr>`}
        ${rows.slice(first, end).map((row, at) => {
          const r = first + at;
          const activities = columns.map((distortion) => model.entries.get(entryId({ ...matrix, ...row, distortion })));
          const marks = row.entries.map((entry) => (entry && chosen.findIndex((one) => one.key === entry.cells[0].key)) ?? -1);
          return html`<${Row} key=${rowName(row)} ...${{ row, r, values: values[r], steps: scales.map((scale, c) => scale(values[r][c] ?? null)), switches, isBase: row === base, mean, rerun, activities, marks }} />`;
        })}
        ${end < rows.length && html`<tr class="space" aria-hidden="true"><td style=${{ height: `${(rows.length - end) * ROW}px` }}></td></tr>`}
      </tbody>
    </table>
  </div>`;
}

/** A row; drawn again only if something of it has changed. */
function Row({ row, r, values, steps, switches, isBase, mean, rerun, activities, marks }) {
  const drawn = () => html`<tr class=${isBase ? "base" : ""}>
    <th scope="row">${switches.show === "baseline" ? html`<button type="button" class="link" data-base=${rowName(row)} title="Make it the baseline"><${Name} row=${row} /></button>` : html`<${Name} row=${row} />`}${isBase && html`<small>baseline</small>`}</th>
    ${row.entries.map((entry, c) => (entry
      ? html`<${MatrixEntry} key=${c} row=${row} entry=${entry} activity=${activities[c]} value=${values[c]} step=${steps[c]} switches=${switches} chosen=${["A", "B"][marks[c]] || ""} rerun=${rerun} at=${[r, c]} />`
      : html`<td key=${c} class="entry none"><span class="soft" title="The grid has no such cell">·</span></td>`))}
    ${mean && html`<td class="mean">${textOf(meanOf(values.map((value) => value ?? null)), switches.show)}</td>`}
  </tr>`;
  return useMemo(drawn, [row, r, switches, isBase, mean, rerun, JSON.stringify(values), steps.join(), marks.join(), ...activities]);
}

const Name = ({ row }) => html`<bdi>${row.model}</bdi>${row.transform !== "none" && html` <span class="soft"><bdi>${row.transform}</bdi></span>`}`;

function useRowsInSight(box, rows) {
  const [sight, setSight] = useState([0, Math.min(rows, ALL)]);
  const look = () => {
    if (!box.current) return;
    const next = rows > ALL ? inSight(box.current.scrollTop, box.current.clientHeight, ROW, rows) : [0, rows];
    setSight((old) => (old[0] === next[0] && old[1] === next[1] ? old : next));
  };
  useLayoutEffect(look, [rows]);
  return rows > ALL ? [...sight, look] : [0, rows, look];
}

/** One handler of a kind for the whole table. */
function handlers({ onOpen, onChoose, onAgain, onBase, rerun }, place) {
  return {
    click(event) {
      const { at, again, base } = event.target.closest("button")?.dataset || {};
      if (base !== undefined) onBase(base);
      else if (again) onAgain(place(again));
      else if (at) onOpen(place(at), event.shiftKey);
    },
    key(event) {
      const at = event.target.dataset.at;
      if (!at || event.ctrlKey || event.metaKey || event.altKey) return;
      const [r, c] = at.split(" ").map(Number);
      const moves = { ArrowUp: [r - 1, c], ArrowDown: [r + 1, c], ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1] };
      if (moves[event.key]) {
        event.currentTarget.querySelector(`[data-at="${moves[event.key].join(" ")}"]`)?.focus();
        event.preventDefault();
      } else if (event.key === "c" || (event.key === "Enter" && event.shiftKey)) {
        onChoose(place(at));
        event.preventDefault();
      } else if (event.key === "r" && rerun) {
        onAgain(place(at));
        event.preventDefault();
      }
    },
  };
}
