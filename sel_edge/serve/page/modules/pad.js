// The buttons of the label queue, one for each class, with the keys that press them.

import { element, find, keyed, named, say, set } from "./dom.js";
import { count } from "./format.js";

/** Every key but those that the queue itself uses: N, X, U, and H, J, K, L are left alone too. */
const KEYS = "1234567890abcdefgimopqrstvwyz";
const AT_HAND = 10;
const MOST = 60;

/** Classes to choose from. With more classes than keys, those at hand get the digits. */
export class ClassPad {
  #list = find("pad");
  #filter = find("pad-filter");
  #choose;
  #classes = [];
  #labelled = {};
  #predicted = null;
  #recent = [];
  #shown = [];

  /** `choose` is called with the name of a class. */
  constructor(choose) {
    this.#choose = (name) => {
      this.#filter.value = "";
      choose(name);
    };
    this.#filter.addEventListener("input", () => this.#draw());
    this.#filter.addEventListener("keydown", (event) => this.#key(event));
  }

  /** `labelled` counts the labels of each class; `predicted` is what the network said, or null. */
  show(classes, labelled, predicted) {
    const asked = Object.keys(labelled).filter((name) => !classes.includes(name));
    this.#classes = [...classes, ...asked.sort()];
    this.#labelled = labelled;
    this.#predicted = predicted;
    this.#draw();
  }

  /** A class was given: it stays at hand. */
  remember(name) {
    this.#recent = [name, ...this.#recent.filter((other) => other !== name)].slice(0, AT_HAND);
  }

  /** The class of a key, or null. */
  classOf(key) {
    const place = KEYS.indexOf(key.toLowerCase());
    if (key.length !== 1 || place < 0) return null;
    return this.#keyed()[place] ?? null;
  }

  /** Go to where a class is looked for; false where all of them have keys. */
  search() {
    if (this.#filter.hidden) return false;
    this.#filter.focus();
    return true;
  }

  get #isLarge() {
    return this.#classes.length > KEYS.length;
  }

  #keyed() {
    return this.#isLarge ? this.#atHand() : this.#classes;
  }

  #atHand() {
    const often = Object.entries(this.#labelled).sort((a, b) => b[1] - a[1]);
    const first = [this.#predicted, ...this.#recent, ...often.map(([name]) => name)];
    const known = new Set(this.#classes);
    const names = [...new Set([...first, ...this.#classes])].filter((name) => known.has(name));
    return names.slice(0, AT_HAND);
  }

  #draw() {
    set(this.#filter.parentElement, { hidden: this.#isLarge ? null : "" });
    this.#filter.hidden = !this.#isLarge;
    const wanted = this.#filter.value.trim().toLowerCase();
    const keys = this.#keyed();
    const all = this.#isLarge ? [...new Set([...keys, ...this.#classes])] : this.#classes;
    const fitting = all.filter((name) => name.toLowerCase().includes(wanted));
    this.#shown = fitting.slice(0, MOST);
    keyed(
      this.#list,
      this.#shown,
      (name) => name,
      (name) => button(name, () => this.#choose(name)),
      (item, name) => this.#update(item.firstElementChild, name, keys.indexOf(name)),
    );
    const hidden = fitting.length - this.#shown.length;
    say(find("pad-rest"), hidden > 0 ? `${count(hidden)} more: type a part of the name.` : "");
    find("pad-none").hidden = fitting.length > 0 || wanted === "";
  }

  #update(node, name, place) {
    const [key, labels] = node.querySelectorAll("kbd, .labels");
    key.hidden = place < 0;
    say(key, place < 0 ? "" : KEYS[place].toUpperCase());
    say(labels, String(this.#labelled[name] ?? 0));
    set(labels, { title: `${count(this.#labelled[name] ?? 0)} labelled frames` });
    node.classList.toggle("said", name === this.#predicted);
    node.querySelector(".hidden").hidden = name !== this.#predicted;
  }

  #key(event) {
    if (event.key === "Enter" && this.#filter.value.trim() !== "" && this.#shown.length > 0) {
      event.preventDefault();
      this.#choose(this.#shown[0]);
    } else if (event.key === "Escape") {
      this.#filter.value = "";
      this.#draw();
      find("question").focus();
    }
  }
}

function button(name, choose) {
  return element(
    "li",
    {},
    element(
      "button",
      { type: "button", class: "class", title: name, click: choose },
      element("kbd", { "aria-hidden": "true" }),
      element("span", { class: "name" }, named(name)),
      element("span", { class: "hidden" }, ", as it said"),
      element("span", { class: "labels", "aria-hidden": "true" }),
    ),
  );
}
