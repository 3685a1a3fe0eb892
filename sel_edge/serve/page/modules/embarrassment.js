// What the device is embarrassed about: one large chart, and a row of bars for every class.

import { element, find, keyed, named, say, set, svg } from "./dom.js";
import { count, counted, nats, roundUp } from "./format.js";
import { binned, curve, isExact, meanNow, momentOf, normalOf, valueNow } from "./series.js";
import { TimeChart } from "./timechart.js";

const FEW = 12;
const STEP = 60;
const BINS = 48;
const STRIP = 24;
const CALM_MS = 5000;
/** Kinds that are worth a mark in the chart. */
const MARKED = new Set(["fire", "wants_labels", "keep", "reject", "stop", "rollback"]);

const excess = (status, name) =>
  (valueNow(status.embarrassment[name]) ?? -1) - (status.normal[name] ?? 0);
const level = (status, name) => valueNow(status.embarrassment[name]) ?? -1;

const ORDERS = {
  above: (status) => (a, b) => excess(status, b) - excess(status, a),
  most: (status) => (a, b) => level(status, b) - level(status, a),
  name: () => (a, b) => a.localeCompare(b),
  network: () => () => 0,
};

/** The panel. */
export class Embarrassment {
  #chart = new TimeChart(find("chart"), find("chart-readout"));
  #list = find("classes");
  #selected = null;
  #shown = FEW;
  #order = [];
  #orderedAt = -Infinity;
  #strips = new Map();
  #points = [];
  #events = [];
  #status = null;

  constructor() {
    find("order").addEventListener("change", () => this.#reorder());
    find("class-filter").addEventListener("input", () => this.#reorder());
    find("more-classes").addEventListener("click", () => {
      this.#shown = this.#shown === FEW ? FEW + STEP : this.#shown + STEP;
      this.#reorder();
    });
    find("all-together").addEventListener("click", () => this.#select(null));
  }

  /** Points over time, oldest first. */
  showPoints(points) {
    this.#points = points;
    this.#strips.clear();
    if (this.#status !== null) this.show(this.#status, this.#events);
  }

  show(status, events) {
    this.#status = status;
    this.#events = events;
    if (this.#selected !== null && !status.classes.includes(this.#selected)) this.#selected = null;
    this.#sort();
    this.#showList();
    this.#showChart();
  }

  /** Rows change places only now and then, and never under a pointer or the focus. */
  #sort() {
    const now = performance.now();
    const isSame = this.#order.length === this.#status.classes.length;
    const isBusy = this.#list.matches(":hover, :focus-within");
    if (isSame && (isBusy || now - this.#orderedAt < CALM_MS)) return;
    this.#orderedAt = now;
    this.#order = [...this.#status.classes].sort(ORDERS[find("order").value](this.#status));
  }

  #reorder() {
    if (this.#status === null) return;
    this.#order = [];
    this.show(this.#status, this.#events);
  }

  #select(name) {
    this.#selected = name === this.#selected ? null : name;
    this.show(this.#status, this.#events);
  }

  #showList() {
    const { classes } = this.#status;
    find("class-filter").hidden = classes.length <= FEW;
    const wanted = find("class-filter").value.trim().toLowerCase();
    const fitting = this.#order.filter((name) => name.toLowerCase().includes(wanted));
    const shown = fitting.slice(0, this.#shown);
    const most = this.#most();
    keyed(
      this.#list,
      shown,
      (name) => name,
      (name) => row(name, () => this.#select(name)),
      (item, name) => this.#showRow(item, name, most),
    );
    const hidden = fitting.length - shown.length;
    find("more-classes").hidden = hidden === 0;
    say(
      find("more-classes"),
      `Show ${count(Math.min(hidden, STEP))} more of ${count(fitting.length)}`,
    );
    find("no-classes").hidden = fitting.length > 0;
    set(find("all-together"), { "aria-pressed": this.#selected === null });
  }

  /** The right end of every bar, common to all so that they compare. */
  #most() {
    const { embarrassment, normal } = this.#status;
    const now = Object.values(embarrassment).map((windows) => valueNow(windows) ?? 0);
    return roundUp(Math.max(0.2, ...now, ...Object.values(normal)));
  }

  #showRow(item, name, most) {
    const windows = this.#status.embarrassment[name];
    const [value, normal] = [valueNow(windows), this.#status.normal[name] ?? null];
    const parts = item.parts;
    say(parts.value, nats(value));
    say(parts.basis, basisOf(windows));
    say(parts.normal, normal === null ? "" : `, normal ${nats(normal)}`);
    const share = Math.min((value ?? 0) / most, 1);
    const usual = normal === null ? share : Math.min(share, normal / most);
    set(parts.bar, { class: isExact(windows) ? "bar exact" : "bar estimated" });
    set(parts.usual, { width: `${100 * usual}%` });
    set(parts.above, { x: `${100 * usual}%`, width: `${100 * Math.max(share - usual, 0)}%` });
    set(parts.tick, { x: `${100 * Math.min((normal ?? 0) / most, 1)}%` });
    set(parts.tick, { class: normal === null ? "tick none" : "tick" });
    set(parts.button, { "aria-pressed": name === this.#selected });
    item.classList.toggle("embarrassed", value !== null && normal !== null && value > 1.5 * normal);
    this.#showStrip(parts, name, normal);
  }

  #showStrip(parts, name, normal) {
    const most = this.#stripMost();
    const key = `${most} ${normal}`;
    const kept = this.#strips.get(name);
    if (kept?.key === key) {
      if (parts.drawn === kept) return;
    } else {
      const bars = binned(this.#points, name, BINS);
      this.#strips.set(name, { key, ...stripPaths(bars, normal, most) });
    }
    parts.drawn = this.#strips.get(name);
    set(parts.stripUsual, { d: parts.drawn.usual });
    set(parts.stripAbove, { d: parts.drawn.above });
    set(parts.stripNormal, { d: parts.drawn.line });
  }

  #stripMost() {
    if (!this.#strips.has("\0most")) {
      const values = this.#points.flatMap((point) => Object.values(point.values));
      const most = values.reduce((a, b) => Math.max(a, b), 0.2);
      this.#strips.set("\0most", most);
    }
    return this.#strips.get("\0most");
  }

  #showChart() {
    const name = this.#selected;
    const normal = normalOf(this.#status, name);
    const about = name === null ? () => true : (event) => event.classes.includes(name);
    const marks = this.#events
      .filter((event) => MARKED.has(event.kind) && about(event))
      .map((event) => ({ t: momentOf(event, this.#points), kind: event.kind }))
      .filter(({ t }) => t !== null);
    const value =
      name === null ? meanNow(this.#status) : valueNow(this.#status.embarrassment[name]);
    say(find("chart-title"), name ?? "All classes, mean");
    const usual = normal === null ? "" : ` · normal ${nats(normal)}`;
    const resting = value === null ? "Nothing is known yet." : `now ${nats(value)} nats${usual}`;
    this.#chart.show({ curve: curve(this.#points, this.#status, name), normal, marks, resting });
  }
}

function basisOf(windows) {
  if (windows === undefined || valueNow(windows) === null) return "not known yet";
  return isExact(windows) ? counted(windows.labels, "label") : "estimated";
}

function row(name, choose) {
  const parts = {
    value: element("span", { class: "value" }),
    basis: element("span", { class: "basis" }),
    normal: element("span", { class: "hidden" }),
    usual: svg("rect", { class: "usual", height: "100%" }),
    above: svg("rect", { class: "above", height: "100%" }),
    tick: svg("rect", { width: 2, height: "100%" }),
    stripUsual: svg("path", { class: "usual" }),
    stripAbove: svg("path", { class: "above" }),
    stripNormal: svg("path", { class: "normal" }),
  };
  parts.bar = svg("svg", { "aria-hidden": "true" }, parts.usual, parts.above, parts.tick);
  const strip = svg(
    "svg",
    {
      class: "strip",
      viewBox: `0 0 ${BINS} ${STRIP}`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    },
    parts.stripUsual,
    parts.stripAbove,
    parts.stripNormal,
  );
  const label = element("span", { class: "name", title: name }, named(name));
  parts.button = element(
    "button",
    { type: "button", class: "class-row", click: choose },
    ...[
      label,
      strip,
      parts.bar,
      element("span", { class: "number" }, parts.value, " ", parts.basis),
    ],
    parts.normal,
  );
  const item = element("li", {}, parts.button);
  item.parts = parts;
  return item;
}

/** Bars over time as paths: up to normal, above it, and the normal level. */
function stripPaths(bars, normal, most) {
  const high = (value) => (STRIP * Math.min(value, most)) / most;
  let [usual, above] = ["", ""];
  bars.forEach((value, place) => {
    if (value === null) return;
    const under = Math.min(value, normal ?? value);
    usual += `M${place + 0.1} ${STRIP}h.8v${(-high(under)).toFixed(2)}h-.8z`;
    if (value > under) {
      const from = STRIP - high(under);
      const rise = high(value) - high(under);
      above += `M${place + 0.1} ${from.toFixed(2)}h.8v${(-rise).toFixed(2)}h-.8z`;
    }
  });
  const line = normal === null ? "" : `M0 ${(STRIP - high(normal)).toFixed(2)}h${BINS}`;
  return { usual, above, line };
}
