/** Numbers, times and names as people read them, in the reader's zone. */

const COUNT = new Intl.NumberFormat("en");
const TIME = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
});
const NONE = "–";

const known = (value) => typeof value === "number" && Number.isFinite(value);

/** 3600 -> 3,600 */
export const count = (value) => (known(value) ? COUNT.format(value) : NONE);
/** 1 -> 1 cell; 3 -> 3 cells */
export const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
/** 2.4444 -> 2.44 */
export const number = (value, digits = 2) => (known(value) ? value.toFixed(digits) : NONE);
/** 2.4444 -> 2.44 % */
export const percent = (value, digits = 2) => (known(value) ? `${value.toFixed(digits)} %` : NONE);
/** 0.34 -> +0.34; a true minus sign */
export const signed = (value, digits = 2) => {
  if (!known(value)) return NONE;
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return `${value < 0 ? "−" : "+"}${text}`;
};
/** 0.0312 -> 0.031; 0.00001 -> < 0.001 */
export const probability = (p) => {
  if (!known(p)) return NONE;
  return p < 0.001 ? "< 0.001" : p.toFixed(p < 0.1 ? 3 : 2);
};
/** 72.3 -> 1 min 12 s */
export const duration = (seconds) => {
  if (!known(seconds)) return NONE;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(seconds / 60);
  return `${COUNT.format(Math.floor(minutes / 60))} h ${minutes % 60} min`;
};
/** 20480 -> 20 kB */
export const bytes = (value) => {
  if (!known(value)) return NONE;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 1000) return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} TB`;
};
/** An ISO 8601 time in the reader's zone. */
export const time = (iso) => {
  const date = iso ? new Date(iso) : null;
  return date && !Number.isNaN(date.getTime()) ? TIME.format(date) : NONE;
};
/** How long ago an ISO 8601 time was. */
export const ago = (iso, now = Date.now()) => {
  const seconds = (now - new Date(iso).getTime()) / 1000;
  if (!known(seconds)) return NONE;
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)} h ago`;
  return `${counted(Math.round(seconds / 86400), "day")} ago`;
};
/** A model and its transform: ST-CNN affine, CNN */
export const network = (model, transform) => (transform === "none" ? model : `${model} ${transform}`);
/** A new job's id, unique, that sorts by time. */
export const newJobId = (prefix) => {
  const stamp = new Date().toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
  const tail = [...crypto.getRandomValues(new Uint8Array(2))].map((one) => one.toString(16).padStart(2, "0")).join("");
  return `${prefix.replace(/[^A-Za-z0-9._-]/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 40) || "page"}-${stamp}-${tail}`;
};
