// Numbers, times and kinds of decisions as people read them. By hand: `Intl` takes longer to load
// than everything else here together.

export const UNKNOWN = "–";
const NBSP = "\u00a0";
const PREFIXES = ["µ", "m", "", "k", "M", "G", "T", "P", "E"];
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

const two = (number) => String(number).padStart(2, "0");

/** A whole number, with commas between thousands. */
export const count = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");

export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** Embarrassment. */
export const nats = (value) => (value === null || value === undefined ? UNKNOWN : value.toFixed(2));

export const percent = (share) => `${Math.round(100 * share)}${NBSP}%`;

/** Three significant digits with an SI prefix: 3.38e11 "FLOP" is "338 GFLOP". */
export function scaled(value, unit) {
  if (!Number.isFinite(value) || value === 0) return `${value}${NBSP}${unit}`;
  let power = Math.min(Math.max(Math.floor(Math.log10(Math.abs(value)) / 3), -2), 6);
  if (Number((Math.abs(value) / 1000 ** power).toPrecision(3)) >= 1000 && power < 6) power += 1;
  const digits = Number((value / 1000 ** power).toPrecision(3));
  return `${digits}${NBSP}${PREFIXES[power + 2]}${unit}`;
}

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s}${NBSP}s`;
  if (s < 3600) return `${Math.floor(s / 60)}${NBSP}min`;
  if (s < 86400)
    return `${Math.floor(s / 3600)}${NBSP}h${NBSP}${two(Math.floor((s % 3600) / 60))}${NBSP}min`;
  return `${Math.floor(s / 86400)}${NBSP}d${NBSP}${Math.floor((s % 86400) / 3600)}${NBSP}h`;
}

/** "14:03:22" today, "12 Jun, 14:03" on another day. */
export function clock(utc_s, now_s = utc_s) {
  const date = new Date(1000 * utc_s);
  const isToday = date.toDateString() === new Date(1000 * now_s).toDateString();
  return isToday ? `${minutes(date)}:${two(date.getSeconds())}` : `${day(date)}, ${minutes(date)}`;
}

/** "14:03" */
export const minutes = (date) => `${two(date.getHours())}:${two(date.getMinutes())}`;

/** "12 Jun" */
export const day = (date) => `${date.getDate()} ${MONTHS[date.getMonth()]}`;

export const short = (hash) => hash.slice(0, 12);

/** Names in a row: "cat, dog and 3 more". */
export function names(list, most = 3) {
  const rest = list.length - most;
  const shown = list.slice(0, most);
  if (rest > 0) return `${shown.join(", ")} and ${count(rest)} more`;
  return shown.length > 1 ? `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}` : shown.join("");
}

const KINDS = {
  fire: "Began to learn",
  wants_labels: "Needs labels",
  keep: "Kept",
  reject: "Rejected",
  defer: "Put off",
  stop: "Stopped",
  rollback: "Rolled back",
  restart: "Started",
  reload: "Bundle reloaded",
  error: "Error",
};

export const kindInWords = (kind) => KINDS[kind] ?? kind;

/** What came of learning, as the timeline tells of it: "keep: …" becomes "Kept: …". */
export const sentenceInWords = (sentence) =>
  sentence.replace(/^(\w+)(?=: )/, (kind) => kindInWords(kind));

const PURPOSES = {
  inference: "Answering and watching",
  norm: "Learning: normalization",
  head: "Learning: classifier",
  tail: "Learning: last block",
  deep: "Learning: later layers",
  full: "Learning: all weights",
};

export const purposeInWords = (purpose) => PURPOSES[purpose] ?? purpose;

const RESOURCES = {
  energy_j_per_day: ["Energy in 24 hours", "J"],
  watts_mean: ["Energy at the mean power", "J"],
  battery: ["Battery", "J"],
  flops_per_day: ["Operations in 24 hours", "FLOP"],
  flash_writes_per_day: ["Flash writes in 24 hours", ""],
};

export const resourceInWords = (resource) => RESOURCES[resource] ?? [resource, ""];

/** An amount in the unit of its resource. */
export function amount(value, unit) {
  return unit === "" ? count(Math.round(value)) : scaled(value, unit);
}

/** The least of 1, 2, 2.5 and 5 times a power of ten that is no less than `value`. */
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].find((step) => step * power >= value) * power;
}
