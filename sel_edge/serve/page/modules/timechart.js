// The large chart: embarrassment over time with what was decided meanwhile.

import { say, set, svg } from "./dom.js";
import { clock, count, day, minutes, nats, roundUp } from "./format.js";

const HEIGHT = 196;
const EDGE = { left: 34, right: 10, top: 12, bottom: 44 };
const LANE = HEIGHT - 29;
const NEAREST = 14;
const STEPS_S = [
  5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800,
];
const DAY_S = 86400;

/** Chart of one curve; pointer and arrow keys read single points off it. */
export class TimeChart {
  #svg;
  #readout;
  #width = 0;
  #data = null;
  #chosen = null;

  /** `node` is an empty SVG, `readout` says in words what is pointed at. */
  constructor(node, readout) {
    this.#svg = node;
    this.#readout = readout;
    new ResizeObserver(([{ contentRect }]) => {
      this.#width = contentRect.width;
      this.#draw();
    }).observe(node);
    node.addEventListener("pointermove", (event) => this.#point(event));
    node.addEventListener("pointerdown", (event) => this.#point(event));
    node.addEventListener("pointerleave", () => this.#choose(null));
    node.addEventListener("blur", () => this.#choose(null));
    node.addEventListener("keydown", (event) => this.#key(event));
  }

  /**
   * Show `{curve, normal, marks, resting}`: [{t, frame, value}], nats or null, [{t, kind}], and
   * what is said while nothing is pointed at.
   */
  show(data) {
    this.#data = data;
    if (this.#chosen !== null && this.#chosen >= data.curve.length) this.#chosen = null;
    this.#draw();
  }

  #scales() {
    const { curve, normal } = this.#data;
    const width = Math.max(this.#width, 200);
    const first = curve[0].t;
    const span = Math.max(curve.at(-1).t - first, 1);
    const most = roundUp(Math.max(0.2, normal ?? 0, ...curve.map(({ value }) => value)));
    const [inner, high] = [width - EDGE.left - EDGE.right, HEIGHT - EDGE.top - EDGE.bottom];
    return {
      width,
      most,
      first,
      span,
      x: (t) => EDGE.left + (inner * (t - first)) / span,
      y: (value) => EDGE.top + high * (1 - Math.max(value, 0) / most),
      at: (x) => first + (span * (x - EDGE.left)) / inner,
    };
  }

  #draw() {
    if (this.#data === null || this.#width === 0) return;
    const { curve } = this.#data;
    if (curve.length === 0) {
      this.#svg.replaceChildren();
      this.#tell();
      return;
    }
    const scales = this.#scales();
    set(this.#svg, { viewBox: `0 0 ${scales.width} ${HEIGHT}`, height: HEIGHT });
    this.#svg.replaceChildren(
      levels(scales),
      times(scales),
      ...body(this.#data, scales),
      marks(this.#data.marks, scales),
      ...this.#cursor(scales),
    );
    this.#tell();
  }

  #cursor(scales) {
    if (this.#chosen === null) return [];
    const { t, value } = this.#data.curve[this.#chosen];
    const x = scales.x(t);
    return [
      svg("line", { class: "cursor", x1: x, x2: x, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }),
      svg("circle", { class: "cursor", cx: x, cy: scales.y(value), r: 4 }),
    ];
  }

  #tell() {
    const { curve, resting } = this.#data;
    const words =
      this.#chosen === null ? resting : pointInWords(curve[this.#chosen], curve.at(-1).t);
    say(this.#readout, words);
    const now = this.#chosen ?? Math.max(curve.length - 1, 0);
    const [max, text] = [Math.max(curve.length - 1, 0), words];
    set(this.#svg, { "aria-valuemax": max, "aria-valuenow": now, "aria-valuetext": text });
  }

  #choose(number) {
    if (number === this.#chosen) return;
    this.#chosen = number;
    this.#draw();
  }

  #point(event) {
    if (this.#data === null || this.#data.curve.length === 0) return;
    const t = this.#scales().at(event.clientX - this.#svg.getBoundingClientRect().left);
    const { curve } = this.#data;
    let best = 0;
    for (let i = 1; i < curve.length; i += 1) {
      if (Math.abs(curve[i].t - t) < Math.abs(curve[best].t - t)) best = i;
    }
    this.#choose(best);
  }

  #key(event) {
    const last = (this.#data?.curve.length ?? 0) - 1;
    if (last < 0) return;
    const now = this.#chosen ?? last;
    const moves = { ArrowLeft: now - 1, ArrowRight: now + 1, PageUp: now - 20, PageDown: now + 20 };
    const to = { ...moves, Home: 0, End: last, Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.#choose(to === null ? null : Math.min(Math.max(to, 0), last));
  }
}

const pointInWords = ({ t, frame, value }, now) =>
  `${clock(t, now)} · frame ${count(frame)} · ${nats(value)} nats`;

function levels({ width, most, y }) {
  const group = svg("g", { class: "axis" });
  for (const level of [0, most / 2, most]) {
    const at = { x1: EDGE.left, x2: width - EDGE.right, y1: y(level), y2: y(level) };
    const text = svg("text", { x: EDGE.left - 6, y: y(level) + 4, "text-anchor": "end" });
    text.textContent = String(Number(level.toPrecision(3)));
    group.append(svg("line", at), text);
  }
  return group;
}

function times({ width, first, span, x }) {
  const step = STEPS_S.find((s) => span / s <= width / 84) ?? STEPS_S.at(-1);
  const offset = -60 * new Date(1000 * first).getTimezoneOffset();
  const group = svg("g", { class: "axis" });
  const from = Math.ceil((first + offset) / step) * step - offset;
  for (let t = from; t <= first + span; t += step) {
    if (x(t) < EDGE.left + 14 || x(t) > width - 28) continue;
    const text = svg("text", { x: x(t), y: HEIGHT - 5, "text-anchor": "middle" });
    text.textContent = tickInWords(t, step);
    group.append(text);
  }
  return group;
}

function tickInWords(t, step) {
  const date = new Date(1000 * t);
  if (step >= DAY_S) return day(date);
  return step < 60 ? clock(t) : minutes(date);
}

/** The curve, what of it lies above normal, and the normal level. */
function body({ curve, normal }, { x, y, width }) {
  const path = curve.map(({ t, value }) => `${x(t).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
  const floor = y(normal ?? 0);
  const ends = [curve[0], curve.at(-1)].map(({ t }) => x(t).toFixed(1));
  const area = `M${ends[0]} ${floor}L${path}L${ends[1]} ${floor}Z`;
  const above = { x: 0, y: 0, width, height: floor };
  const parts = [
    svg("clipPath", { id: "above-normal" }, svg("rect", above)),
    svg("path", { class: "above", d: area, "clip-path": "url(#above-normal)" }),
  ];
  if (normal !== null) {
    parts.push(
      svg("line", { class: "normal", x1: EDGE.left, x2: width - EDGE.right, y1: floor, y2: floor }),
    );
  }
  parts.push(svg("path", { class: "curve", d: `M${path}` }));
  const { t, value } = curve.at(-1);
  return [...parts, svg("circle", { class: "now", cx: x(t), cy: y(value), r: 3.5 })];
}

/** The signs of decisions in a lane below; where they crowd, the newer one is shown. */
function marks(found, { x, width }) {
  const group = svg("g", { class: "marks" });
  let right = Infinity;
  for (const { t, kind } of [...found].sort((a, b) => b.t - a.t)) {
    const at = x(t);
    if (at < EDGE.left || at > width - EDGE.right + 1 || right - at < NEAREST) continue;
    right = at;
    group.append(
      svg("line", { x1: at, x2: at, y1: EDGE.top, y2: LANE - 8 }),
      svg("use", {
        href: `#sign-${kind}`,
        class: `sign ${kind}`,
        x: at - 6,
        y: LANE - 6,
        width: 12,
        height: 12,
      }),
    );
  }
  return group;
}
