// What the device sees: its newest frame, what it said of it, and how the frames flow.

import { getRaw } from "./api.js";
import { find, named, say, set } from "./dom.js";
import { clock, count, duration, percent } from "./format.js";

const SMALL = 160;

/** The panel. */
export class Live {
  #canvas = find("frame");
  #shown = null;
  #wanted = null;
  #isBusy = false;

  show(status) {
    const { answer, flow } = status;
    find("no-frame").hidden = answer !== null;
    find("seen").hidden = answer === null;
    if (answer === null) say(find("no-frame-why"), flow.source_state);
    else this.#refresh(answer.frame);
    say(find("rate"), flow.frames_per_s.toFixed(flow.frames_per_s < 10 ? 1 : 0));
    say(find("answered-frames"), count(flow.seen));
    say(find("dropped"), count(flow.dropped));
    say(find("refused"), count(flow.refused));
    say(find("source"), flow.source);
    say(find("source-state"), flow.source_state);
    say(find("uptime"), duration(status.utc_s - status.started_utc_s));
    const celsius = status.celsius === null ? "unknown" : `${status.celsius.toFixed(0)}\u00a0°C`;
    say(find("celsius"), status.throttled ? `${celsius}, throttled` : celsius);
    find("celsius").classList.toggle("bad", status.throttled);
  }

  /** Get the newest picture, one at a time, and not for a page that nobody looks at. */
  async #refresh(frame) {
    this.#wanted = frame;
    if (this.#isBusy || document.hidden || frame === this.#shown) return;
    this.#isBusy = true;
    try {
      const response = await getRaw("view");
      const answer = JSON.parse(response.headers.get("X-Frame-Answer"));
      const picture = await createImageBitmap(await response.blob());
      this.#draw(picture);
      picture.close();
      this.#shown = answer.frame;
      this.#tell(answer);
    } catch {
      // There is none yet, or the connection is lost, which its own watch says.
    } finally {
      this.#isBusy = false;
    }
    if (this.#wanted !== frame) this.#refresh(this.#wanted); // came meanwhile, perhaps the last one
  }

  #draw(picture) {
    const { width, height } = picture;
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    this.#canvas.classList.toggle("small", width <= SMALL);
    const context = this.#canvas.getContext("2d");
    context.clearRect(0, 0, width, height); // a drawn signal is transparent
    context.drawImage(picture, 0, 0);
  }

  #tell(answer) {
    const prediction = find("prediction");
    if (prediction.textContent !== answer.prediction) {
      prediction.replaceChildren(named(answer.prediction));
    }
    find("confidence").value = answer.confidence;
    say(find("confidence-share"), percent(answer.confidence));
    find("novel").hidden = !answer.is_novel;
    const domain = answer.domain === 0 ? "" : ` · domain ${answer.domain}`;
    say(find("frame-when"), `frame ${count(answer.frame)} · ${clock(answer.utc_s)}${domain}`);
    set(this.#canvas, { "aria-label": `Newest frame, taken for ${answer.prediction}` });
  }
}
