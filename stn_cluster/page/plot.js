/** Curves by uPlot, in the page's colours, as wide as their box. */

import { html, useEffect, useRef, useState } from "./lib.js";
import uPlot from "./vendor/uplot.js";

/** Okabe and Ito's colours, which the colour-blind can tell apart; dashes where they run out. */
export const HUES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
const HUES_DARK = ["#56B4E9", "#F08A3C", "#3FC79A", "#E0A0C4", "#E69F00", "#8FCBF2"];
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
const MARKERS = ["solid", "dashed", "dotted", "double"];
const FONT = '12px -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif';
const dark = window.matchMedia("(prefers-color-scheme: dark)");

/** Whether the reader's scheme is dark; drawn again when it changes. */
export function useDark() {
  const [now, setNow] = useState(dark.matches);
  useEffect(() => {
    const see = () => setNow(dark.matches);
    dark.addEventListener("change", see);
    return () => dark.removeEventListener("change", see);
  }, []);
  return now;
}

/**
 * Curves over common x values.
 * @param {{x: number[], series: {label: string, values: (number | null)[], scale?: string, points?: boolean, color?: number}[],
 *   xLabel: string, yLabel: string, y2Label?: string, height?: number, log?: boolean, label: string, format?: (v: number) => string}} props
 *   scale: "y", or "y2" of the axis on the right; label: what the plot shows, for who cannot see it
 */
export function Plot({ x, series, xLabel, yLabel, y2Label, height = 260, log = false, label, format }) {
  const box = useRef(null);
  const isDark = useDark();
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const style = getComputedStyle(document.documentElement);
    const soft = style.getPropertyValue("--soft").trim();
    const line = style.getPropertyValue("--line").trim();
    const axis = (extra) => ({ stroke: soft, font: FONT, labelFont: FONT, labelSize: 22, grid: { stroke: line, width: 1 }, ticks: { show: false }, ...extra });
    const hues = isDark ? HUES_DARK : HUES;
    const show = (v) => (v === null || v === undefined ? "–" : format ? format(v) : String(Number(v.toPrecision(4))));
    const options = {
      width: element.clientWidth, height,
      scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
      axes: [axis({ label: xLabel, size: 30 }), axis({ label: yLabel, size: 54 }), ...(y2Label ? [axis({ label: y2Label, side: 1, scale: "y2", grid: { show: false }, size: 58 })] : [])],
      series: [{ label: xLabel }, ...series.map((one, index) => ({
        label: one.label, scale: one.scale || "y", stroke: hues[(one.color ?? index) % hues.length],
        dash: DASHES[Math.floor((one.color ?? index) / hues.length) % DASHES.length],
        width: 1.75, spanGaps: true, points: { show: one.points || x.length < 15, size: 6 }, value: (_, v) => show(v),
      }))],
      cursor: { points: { size: 7 } },
      legend: { live: true, markers: { width: 2, dash: (_, index) => MARKERS[Math.floor((index - 1) / hues.length) % MARKERS.length] } },
    };
    const plot = new uPlot(options, [x, ...series.map((one) => one.values)], element);
    const resize = new ResizeObserver(() => {
      if (element.clientWidth && element.clientWidth !== plot.width) plot.setSize({ width: element.clientWidth, height });
    });
    resize.observe(element);
    return () => {
      resize.disconnect();
      plot.destroy();
    };
  }, [x, series, isDark, log, height]);
  return html`<div class="plot" ref=${box} role="img" aria-label=${label}></div>`;
}
