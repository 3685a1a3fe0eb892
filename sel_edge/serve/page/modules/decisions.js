// The timeline: what was decided, when and why, newest first.

import { element, find, keyed, named, say, sign } from "./dom.js";
import { clock, count, kindInWords, scaled } from "./format.js";

const FEW = 6;
const STEP = 50;
const MOST = 200;
const MOST_CLASSES = 6;

/** The panel. It keeps the newest decisions. */
export class Decisions {
  #events = [];
  #shown = FEW;
  #now = 0;

  constructor() {
    find("more-decisions").addEventListener("click", () => {
      this.#shown += STEP;
      this.#draw();
    });
    find("kinds").addEventListener("change", () => this.#draw());
  }

  /** All of them, oldest first. */
  get events() {
    return this.#events;
  }

  /** More of them, oldest first; one that is known already is left out. */
  add(events, now) {
    this.#now = now;
    const known = new Set(this.#events.map(keyOf));
    const fresh = events.filter((event) => !known.has(keyOf(event)));
    this.#events = [...this.#events, ...fresh].slice(-MOST);
    this.#draw();
  }

  #draw() {
    const wanted = find("kinds").value;
    const fitting = this.#events.filter(({ kind }) => wanted === "" || groupOf(kind) === wanted);
    const newest = fitting.toReversed().slice(0, this.#shown);
    keyed(find("decisions-list"), newest, keyOf, (event) => decisionItem(event, this.#now));
    const hidden = fitting.length - newest.length;
    find("more-decisions").hidden = hidden === 0;
    say(find("more-decisions"), `Show ${count(Math.min(hidden, STEP))} earlier`);
    find("no-decision").hidden = fitting.length > 0;
  }
}

const GROUPS = {
  fire: "triggers",
  wants_labels: "triggers",
  error: "service",
  restart: "service",
  reload: "service",
};
const groupOf = (kind) => GROUPS[kind] ?? "outcomes";

const keyOf = ({ utc_s, frame, kind, reason }) => JSON.stringify([utc_s, frame, kind, reason]);

function decisionItem(event, now) {
  const { utc_s, frame, kind, reason, classes, energy } = event;
  const when = utc_s === null ? "earlier" : clock(utc_s, now);
  const chips = classes
    .slice(0, MOST_CLASSES)
    .map((name) => element("span", { class: "chip" }, named(name)));
  if (classes.length > MOST_CLASSES) {
    chips.push(element("span", { class: "chip" }, `${count(classes.length - MOST_CLASSES)} more`));
  }
  const cost =
    energy === null
      ? []
      : [
          element(
            "span",
            { class: "cost" },
            scaled(energy.joules, "J"),
            " ",
            element("span", { class: `origin ${energy.origin}` }, energy.origin),
          ),
        ];
  return element(
    "li",
    { class: `decision ${kind}` },
    sign(kind),
    element(
      "div",
      {},
      element(
        "p",
        { class: "what" },
        element("b", {}, kindInWords(kind)),
        element("span", { class: "when" }, `${when} · frame ${count(frame)}`),
      ),
      element("p", { class: "why reason" }, reason),
      chips.length + cost.length > 0 ? element("p", { class: "about" }, ...chips, ...cost) : null,
    ),
  );
}
