// The label queue: the frames that would teach most, each answered with one click or key.

import { get, post } from "./api.js";
import { disable, element, find, keyed, named, say, set } from "./dom.js";
import { count, counted, duration, percent } from "./format.js";
import { ClassPad } from "./pad.js";

const LIMIT = 24;
/** Pixels of a side up to which every one of them is drawn as a square. */
const SMALL = 160;
/** Said of an answer to a frame that the device does not hold any more. */
const LATE = "It waits no more, so the answer counts only if the device still remembers it.";
const pictureOf = (id) => `api/v1/queue/${encodeURIComponent(id)}/picture`;
const meant = (label) => (label === null ? "not useful" : label);

/** The panel. */
export class Queue {
  #pad = new ClassPad((name) => this.answer(name));
  #items = [];
  #current = null;
  #last = null;
  #isSending = false;
  #isAsking = false;
  #isOutdated = true;
  #status = null;
  #seen = "";
  #report;
  #announce;

  /** `report` tells a person of an error, `announce` of what was done. */
  constructor(report, announce) {
    this.#report = report;
    this.#announce = announce;
    find("not-useful").addEventListener("click", () => this.answer(null));
    find("new-class").addEventListener("click", () => this.openNewClass());
    find("new-class-form").addEventListener("submit", (event) => this.#nameClass(event));
    find("new-class-cancel").addEventListener("click", () => this.#closeNewClass());
    find("new-class-form").addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#closeNewClass();
    });
    find("change-last").addEventListener("click", () => this.changeLast());
    find("earlier").addEventListener("click", () => this.move(-1));
    find("later").addEventListener("click", () => this.move(1));
    find("question-picture").addEventListener("load", ({ target }) => {
      target.classList.toggle("small", target.naturalWidth <= SMALL);
    });
  }

  /** A new picture of the device; the queue is asked for again when its counts have changed. */
  show(status) {
    this.#status = status;
    const { waiting, labelled, not_useful } = status.queue;
    const seen = JSON.stringify([waiting, labelled, not_useful, status.state]);
    if (seen !== this.#seen) {
      this.#seen = seen;
      this.#isOutdated = true;
    }
    say(find("waiting"), waiting === 0 ? "none waiting" : `${count(waiting)} waiting`);
    const answers = Object.values(labelled).reduce((sum, n) => sum + n, not_useful);
    say(
      find("answered"),
      `${counted(answers, "answer")} so far, ${count(not_useful)} of them not useful.`,
    );
    this.#showPad();
    this.#refresh();
  }

  /** Ask again even if nothing is known to have changed. */
  reload() {
    this.#isOutdated = true;
    this.#refresh();
  }

  /** Answer for the frame that is shown: a class name, or null for not useful. */
  async answer(label) {
    const item = this.#current;
    if (item === null || this.#isSending) return;
    this.#isSending = true;
    set(find("question"), { "aria-busy": "true" });
    try {
      const { effect } = await post(`queue/${encodeURIComponent(item.id)}`, { label });
      if (label !== null) this.#pad.remember(label);
      this.#conclude(item, label, effect === "deferred");
    } catch (error) {
      this.#report(error);
      this.reload();
    } finally {
      this.#isSending = false;
      set(find("question"), { "aria-busy": null });
    }
  }

  /** Show the next frame (1) or the one before (-1). */
  move(by) {
    const place = this.#items.indexOf(this.#current);
    const next = this.#items[Math.min(Math.max(place + by, 0), this.#items.length - 1)];
    if (next !== undefined) this.#turnTo(next);
  }

  /** Show the frame that was answered last once more, to answer it otherwise. */
  changeLast() {
    if (this.#last === null) return;
    const { item } = this.#last;
    this.#last = null;
    if (!this.#items.includes(item)) this.#items.unshift({ ...item, isAgain: true });
    this.#turnTo(this.#items[0]);
    find("question").focus();
  }

  openNewClass() {
    if (this.#current === null) return;
    find("new-class-form").hidden = false;
    find("new-class-name").focus();
  }

  /** Look for a class by name, where there are more than keys. */
  search() {
    return this.#pad.search();
  }

  /** What a key means here; false if nothing. */
  press(key) {
    if (this.#current === null) return false;
    const label = this.#pad.classOf(key);
    if (label !== null) {
      this.answer(label);
      return true;
    }
    const actions = {
      n: () => this.openNewClass(),
      x: () => this.answer(null),
      u: () => this.changeLast(),
      "/": () => this.search(),
      arrowleft: () => this.move(-1),
      arrowright: () => this.move(1),
    };
    const action = actions[key.toLowerCase()];
    action?.();
    return action !== undefined;
  }

  #nameClass(event) {
    event.preventDefault();
    const name = find("new-class-name").value.trim();
    if (name === "") return;
    this.#closeNewClass();
    this.answer(name);
  }

  #closeNewClass() {
    find("new-class-name").value = "";
    find("new-class-form").hidden = true;
    find("question").focus();
  }

  #conclude(item, label, isLate) {
    const place = this.#items.indexOf(item);
    this.#items = this.#items.filter((other) => other !== item);
    this.#last = { item, label, isLate };
    this.#isOutdated = true;
    const next = this.#items[Math.min(place, this.#items.length - 1)] ?? null;
    const rest = next === null ? "Nothing else waits." : `Next: it said ${next.predicted}.`;
    const late = isLate ? `${LATE} ` : "";
    this.#announce(`Frame ${count(item.number)} is ${meant(label)}. ${late}${rest}`);
    this.#turnTo(next);
  }

  async #refresh() {
    if (!this.#isOutdated || this.#isAsking || this.#status === null) return;
    this.#isAsking = true;
    this.#isOutdated = false;
    try {
      const found = await get(`queue?limit=${LIMIT}`);
      this.#take(found.frames);
    } catch {
      // The connection's own watch says what is wrong; the next status asks again.
      this.#isOutdated = true;
    } finally {
      this.#isAsking = false;
    }
  }

  /** Take the newest queue; the frame that is shown stays, unless somebody else has answered it. */
  #take(frames) {
    const shown = this.#current;
    const again = this.#items.filter((item) => item.isAgain);
    const fresh = frames.map((frame) => this.#items.find(({ id }) => id === frame.id) ?? frame);
    this.#items = [...again, ...fresh.filter(({ id }) => !again.some((item) => item.id === id))];
    const isThere = shown !== null && this.#items.includes(shown);
    if (shown !== null && !isThere && !this.#isSending) {
      this.#announce(`Frame ${count(shown.number)} was answered elsewhere.`);
    }
    this.#turnTo(isThere ? shown : (this.#items[0] ?? null));
  }

  #turnTo(item) {
    this.#current = item;
    const hasFocus = document.activeElement;
    find("question-panel").hidden = item === null;
    find("turns").hidden = item === null;
    find("no-question").hidden = item !== null;
    this.#showLast();
    this.#showStrip();
    this.#showPad();
    if (item !== null) this.#showQuestion(item);
    else if (hasFocus instanceof HTMLElement && !hasFocus.checkVisibility())
      find("questions").focus();
  }

  #showQuestion(item) {
    const picture = find("question-picture");
    const source = pictureOf(item.id);
    set(picture, { src: source, alt: `Frame ${item.number}, taken for ${item.predicted}` });
    const said = find("question-said");
    if (said.textContent !== item.predicted) said.replaceChildren(named(item.predicted));
    const why = item.reason === "" ? "" : `${item.reason}.`;
    say(find("question-why"), why);
    set(find("question-why"), { title: why }); // long names may cut it short
    const ago = duration(this.#status.utc_s - item.seen_utc_s);
    say(find("question-frame"), `frame ${count(item.number)} · ${ago} ago`);
    find("teaching").value = item.score;
    say(find("teaching-share"), percent(item.score));
    const place = this.#items.indexOf(item);
    disable(find("earlier"), place <= 0);
    disable(find("later"), place >= this.#items.length - 1);
  }

  #showStrip() {
    keyed(
      find("strip"),
      this.#items,
      ({ id, isAgain }) => `${id}${isAgain ? " again" : ""}`,
      (item) => thumbnail(item, () => this.#turnTo(item)),
      (node, item) =>
        set(node.firstChild, { "aria-current": item === this.#current ? "true" : null }),
    );
    const place = find("strip").querySelector("[aria-current]")?.parentElement;
    if (place) find("strip").scrollLeft = place.offsetLeft - find("strip").clientWidth / 2;
  }

  #showPad() {
    if (this.#status === null) return;
    const { classes, queue } = this.#status;
    this.#pad.show(classes, queue.labelled, this.#current?.predicted ?? null);
  }

  #showLast() {
    find("last-answer").hidden = this.#last === null;
    if (this.#last === null) return;
    const { item, label, isLate } = this.#last;
    const words = label === null ? "is not useful" : "is ";
    find("last-words").replaceChildren(
      `Frame ${count(item.number)} ${words}`,
      ...(label === null ? [] : [element("b", {}, named(label))]),
      isLate ? `. ${LATE}` : "",
    );
  }
}

function thumbnail(item, turn) {
  const picture = element("img", { src: pictureOf(item.id), alt: "", width: 44, height: 44 });
  const label = `Frame ${item.number}, taken for ${item.predicted}`;
  return element(
    "li",
    {},
    element("button", { type: "button", "aria-label": label, click: turn }, picture),
  );
}
