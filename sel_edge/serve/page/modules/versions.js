// The networks that the device has kept, and the way back to each of them.

import { get, post } from "./api.js";
import { disable, element, find, keyed, named, say, sign } from "./dom.js";
import { count, counted, names, short } from "./format.js";

const STATES = { current: "in use", kept: "kept", undone: "undone", base: "" };
const TIMEOUT_MS = 120_000;
const OWN = "bundle";
const NOTHING_IS_LOST =
  "From the next frame on, the device answers with the other network. Nothing is deleted: every " +
  "network stays in this list.";

/** The panel. */
export class Versions {
  #history = null;
  #seen = "";
  #report;
  #announce;
  #confirm;

  /** `confirm(title, text, action)` resolves to whether a person agreed. */
  constructor(report, announce, confirm) {
    this.#report = report;
    this.#announce = announce;
    this.#confirm = confirm;
    find("undo").addEventListener("click", () => this.#goTo(null));
    find("reload").addEventListener("click", () => this.#reload());
  }

  /** The history is asked for again when something may have changed it. */
  show(status, events) {
    const seen = [status.bundle, status.network, status.phase, events.length].join();
    if (seen === this.#seen) return;
    this.#seen = seen;
    this.#refresh();
  }

  async #refresh() {
    try {
      this.#history = await get("history");
      this.#draw();
    } catch {
      this.#seen = ""; // the next status asks again
    }
  }

  #draw() {
    const { base, unchanged, current, confirmed, entries, notes } = this.#history;
    const kept = entries.map((entry) => ({ ...entry, key: entry.delta }));
    const isOwn = current === null || current === unchanged;
    const own = { key: OWN, network: OWN, state: isOwn ? "current" : "base" };
    keyed(
      find("versions-list"),
      [...kept.toReversed(), { ...own, bundle: base }],
      ({ key, state }) => `${key} ${state} ${confirmed}`,
      (entry) => this.#item(entry, confirmed),
    );
    disable(find("undo"), isOwn);
    find("history-notes").hidden = notes.length === 0;
    say(find("history-notes"), notes.join(" "));
  }

  #item(entry, confirmed) {
    const isCurrent = entry.state === "current";
    const isOwn = entry.network === OWN;
    const title = isOwn ? "The bundle’s own" : `Update ${count(entry.counter)}`;
    const state =
      isCurrent && !isOwn && !confirmed ? "in use, not confirmed yet" : STATES[entry.state];
    const forward = entry.state === "undone";
    const act = element(
      "button",
      { type: "button", click: () => this.#goTo(entry) },
      forward ? "Go forward" : "Roll back",
      element("span", { class: "hidden" }, ` to ${title}`),
    );
    return element(
      "li",
      { class: `version ${entry.state}` },
      sign(isCurrent ? "keep" : forward ? "undone" : "dot"),
      element(
        "div",
        {},
        element(
          "p",
          { class: "what" },
          element("b", {}, title),
          element("span", { class: "state" }, state),
        ),
        element("p", { class: "why" }, ...(isOwn ? bundleInWords(entry) : updateInWords(entry))),
      ),
      isCurrent ? null : act,
    );
  }

  async #goTo(entry) {
    const { question, action, done } = stepInWords(entry);
    if (!(await this.#confirm(question, NOTHING_IS_LOST, action))) return;
    await this.#act("Changing the network", async () => {
      await post("rollback", { to: entry === null ? null : entry.network }, TIMEOUT_MS);
      return done;
    });
  }

  async #reload() {
    const agreed = await this.#confirm(
      "Open the bundle anew?",
      "It is read from disk again. If it cannot be used, the device goes on with the one it has.",
      "Open it",
    );
    if (!agreed) return;
    await this.#act("Opening the bundle", async () => {
      await post("reload", undefined, TIMEOUT_MS);
      return "The bundle was opened anew.";
    });
  }

  async #act(doing, work) {
    find("versions").setAttribute("aria-busy", "true");
    this.#announce(`${doing} …`);
    try {
      this.#announce(await work());
    } catch (error) {
      this.#report(error);
    } finally {
      find("versions").removeAttribute("aria-busy");
      this.#seen = "";
    }
  }
}

/** What changing to a network asks and says; null is the one before the last update. */
function stepInWords(entry) {
  if (entry === null) {
    return {
      question: "Undo the last update?",
      action: "Undo it",
      done: "The last update is undone.",
    };
  }
  const name = entry.network === OWN ? "the bundle’s own network" : `update ${entry.counter}`;
  const action = entry.state === "undone" ? "Go forward" : "Roll back";
  return { question: `${action} to ${name}?`, action, done: `In use: ${name}.` };
}

function bundleInWords({ bundle }) {
  if (bundle === null) return ["No update was kept so far."];
  return [element("code", {}, short(bundle)), " · as it was delivered"];
}

function updateInWords({ network, frame, bytes, rows, domains, learned }) {
  const all = Object.values(rows).reduce((sum, n) => sum + n, 0);
  const parts = [];
  if (all > 0) parts.push(counted(all, "row"));
  if (domains) parts.push("domains");
  const what = parts.length > 0 ? ` · changes ${parts.join(" and ")}` : "";
  const news = learned.length > 0 ? [" · learned ", named(names(learned))] : [];
  return [
    element("code", {}, short(network)),
    ` · frame ${count(frame)} · ${count(bytes)} bytes${what}`,
    ...news,
  ];
}
