// Several images at once: a list of each one's classification, in groups that fit into one request.
import { $, button, element, say } from "./dom.js";
import { blackOnWhite } from "./drawing.js";
import { Refusal, classify } from "./gateway.js";
import { opened } from "./image_files.js";
import { headline, read } from "./scores.js";
import { cardOf, targetOf } from "./served.js";

const MAX_FILES = 200;
const GROUP = 16; // files in one request
const SIDE = 48; // pixels of a thumbnail

export class Several {
  #items = []; // {name, file, blob, row, answer, wrong}
  #inFlight = null;
  stopped = false; // after an error: some have no answer yet

  /** `most`: the limits {bytes, pixels} of a request. `open` is called with a clicked item, and with the first answered. */
  constructor(most, open) {
    this.most = most;
    this.open = open;
    $("put-away").addEventListener("click", () => this.putAway());
  }

  /** Whether there is a list. */
  get shown() {
    return this.#items.length > 0;
  }

  putAway() {
    this.#inFlight?.abort();
    this.#items = [];
    this.stopped = false;
    $("several").hidden = true;
  }

  /** Classify these files, instead of the previous ones, with the model behind `target`. */
  start(files, target) {
    this.#items = [...files].slice(0, MAX_FILES).map((file) => ({ name: file.name || "image", file }));
    this.left = files.length - this.#items.length;
    for (const item of this.#items) item.row = this.#row(item);
    $("several-list").replaceChildren(...this.#items.map((item) => item.row));
    $("several").hidden = false;
    $("several").scrollIntoView({ block: "nearest" });
    this.classify(target);
  }

  /** Classify all of them again. */
  classify(target) {
    for (const item of this.#items) {
      item.answer = item.wrong = undefined;
      item.row.firstChild.disabled = true; // until it has an answer
    }
    this.resume(target);
  }

  /** Continue with those that have no answer yet. */
  async resume(target) {
    this.#inFlight?.abort();
    const inFlight = (this.#inFlight = new AbortController());
    this.stopped = false;
    try {
      for (;;) {
        const group = await this.#nextGroup();
        if (inFlight.signal.aborted || group.length === 0) return;
        await this.#classifyGroup(group, target, inFlight.signal);
        this.#sum("");
      }
    } catch (error) {
      if (inFlight.signal.aborted) return;
      if (!(error instanceof Refusal)) throw error;
      this.stopped = true;
      this.#sum(error.message);
    }
  }

  async #nextGroup() {
    const group = [];
    let bytes = 0;
    for (const item of this.#items) {
      if (group.length === GROUP) break;
      if (item.answer || item.wrong) continue;
      if (!item.blob) await this.#open(item);
      bytes += item.blob.size;
      if (group.length && bytes > this.most.bytes) break;
      group.push(item);
    }
    return group;
  }

  async #open(item) {
    const { blob, bitmap } = await opened(item.file, this.most);
    item.blob = blob;
    item.row.firstChild.firstChild.replaceWith(blackOnWhite(SIDE, [], bitmap));
    bitmap?.close();
  }

  /** Send one request. If all of a group are refused, the error is only that of the first, so each is sent again alone. */
  async #classifyGroup(group, target, signal) {
    try {
      const answers = await classify(target, group, signal);
      group.forEach((item, index) => this.#answered(item, answers[index]));
    } catch (error) {
      if (!(error instanceof Refusal) || error.passes || error.status === 401) throw error;
      if (group.length === 1) return this.#answered(group[0], { error: error.message });
      for (const item of group) await this.#classifyGroup([item], target, signal);
    }
  }

  #answered(item, answer) {
    const first = !this.#items.some((other) => other.answer);
    const [, , said] = item.row.firstChild.children;
    if (answer.error) {
      item.wrong = answer.error;
      said.replaceChildren(element("span", "wrong", answer.error));
      return;
    }
    item.answer = answer;
    const reading = read(answer, cardOf(targetOf(answer)), answer.complete);
    const [best] = reading.labels;
    const score = reading.sure ? reading.text(best.score) : `${best.label}? ${reading.text(best.score)}`;
    said.replaceChildren(element("strong", "", headline(reading)), element("span", "number", score));
    item.row.firstChild.disabled = false;
    if (first) this.#press(item);
  }

  #row(item) {
    const name = element("span", "name", item.name);
    const pressed = () => {
      this.#press(item);
      $("answer").firstElementChild.scrollIntoView({ block: "nearest" });
    };
    const made = button("row", pressed, blackOnWhite(SIDE, [], null), name, element("span", "said", "…"));
    made.disabled = true;
    return element("li", "", made);
  }

  #press(item) {
    for (const other of this.#items) other.row.firstChild.toggleAttribute("aria-current", other === item);
    this.open(item);
  }

  #sum(trouble) {
    const read = this.#items.filter((item) => item.answer).length;
    const wrong = this.#items.filter((item) => item.wrong).length;
    const parts = [`${this.#items.length} images`, `${read} answered`];
    if (wrong) parts.push(`${wrong} refused`);
    if (this.left) parts.push(`${this.left} more left out`);
    say($("several-sum"), trouble ? `${parts.join(", ")}. ${trouble}` : parts.join(", "));
  }
}
