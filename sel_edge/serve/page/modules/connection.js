// The stream of news from the device, opened again whenever it breaks.

import { get, parse } from "./api.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
const SILENCE_MS = 20_000;
const CHECK_TIMEOUT_MS = 5_000;

/** Server-sent events. Listeners: `status`, `decision`, `lost` and `found`, `locked`. */
export class Connection {
  #listeners;
  #source = null;
  #pause_ms = FIRST_PAUSE_MS;
  #timer = 0;
  #heard = 0;
  #isLost = false;

  constructor(listeners) {
    this.#listeners = listeners;
    setInterval(() => this.#checkSilence(), SILENCE_MS / 4);
  }

  get isLost() {
    return this.#isLost;
  }

  /** Open it anew. */
  open() {
    this.close();
    const source = new EventSource("api/v1/stream");
    this.#source = source;
    this.#heard = performance.now();
    source.addEventListener("status", (event) => this.#hear("status", event));
    source.addEventListener("decision", (event) => this.#hear("decision", event));
    source.addEventListener("error", () => this.#lose());
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #hear(kind, event) {
    this.#heard = performance.now();
    this.#pause_ms = FIRST_PAUSE_MS;
    if (this.#isLost) {
      this.#isLost = false;
      this.#listeners.found();
    }
    this.#listeners[kind](parse(event.data));
  }

  /** Ask why, and try again later; after some answers the browser itself would not. */
  async #lose() {
    this.close();
    try {
      await get("status", CHECK_TIMEOUT_MS);
    } catch (error) {
      if (error.status === 401) return; // the login form opens the stream again
    }
    if (!this.#isLost) {
      this.#isLost = true;
      this.#listeners.lost();
    }
    this.#timer = setTimeout(() => this.open(), this.#pause_ms);
    this.#pause_ms = Math.min(2 * this.#pause_ms, LONGEST_PAUSE_MS);
  }

  /** A device without frames has no news; one without power has none either. */
  async #checkSilence() {
    if (this.#source === null || performance.now() - this.#heard < SILENCE_MS) return;
    try {
      await get("status", CHECK_TIMEOUT_MS);
      this.#heard = performance.now();
    } catch {
      this.#lose();
    }
  }
}
