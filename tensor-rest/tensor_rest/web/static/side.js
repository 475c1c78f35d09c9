// One column, with one model's answer: the headline, a bar for each label or the raw outputs, or why there is none.
import { $, element, say } from "./dom.js";
import { outputNodes } from "./outputs.js";
import { headline, read, shares, words } from "./scores.js";

const MAX_BARS = 12;

/** The elements whose ids begin with `prefix`; `root` has the state: empty, answer, hint or problem. */
export class Side {
  constructor(prefix, root) {
    this.root = root;
    this.part = (name) => $(prefix + name);
  }

  /** Show no answer yet; `invitation` says how to get one. `labels`: the model's, or null for none. */
  empty(invitation, labels) {
    this.#begin("empty", "", invitation);
    this.#bars((labels ?? []).slice(0, MAX_BARS).map((label) => ({ label, text: "", share: 0 })));
  }

  /** Show an answer to an image, and return its reading (scores.js). `labels`: all of the model's, or null. */
  labels(answer, card, labels) {
    const complete = answer.complete ?? true;
    const reading = read(answer, card, complete);
    this.#begin("answer", headline(reading), words(reading));
    this.root.dataset.sure = reading.sure;
    const share = shares(reading);
    const rows = reading.labels.length > 1 ? ordered(reading.labels, labels) : [];
    this.#bars(rows.map(({ label, score }) => ({ label, text: reading.text(score), share: share.get(label) })), reading.labels[0].label);
    return reading;
  }

  /** Show the raw outputs {alias: value}. */
  outputs(outputs) {
    this.#begin("answer", "", "");
    this.#bars([]);
    this.part("outputs").replaceChildren(...outputNodes(outputs));
  }

  /** Show why the image cannot be classified; this is not an error. */
  hint(text) {
    this.#begin("hint", "", text);
    this.#blankBars();
  }

  problem(text) {
    this.#begin("problem", "", "");
    say(this.part("problem"), text);
    this.#blankBars();
  }

  #begin(state, best, sure) {
    this.root.dataset.state = state;
    this.root.dataset.sure = true;
    say(this.part("problem"), "");
    say(this.part("best"), best);
    this.part("best").dataset.long = best.length > 3;
    say(this.part("sure"), sure);
    this.part("outputs").replaceChildren();
  }

  #blankBars() {
    this.#bars([...this.part("bars").children].map((item) => ({ label: item.dataset.label, text: "", share: 0 })));
  }

  #bars(rows, best) {
    const list = this.part("bars");
    while (list.children.length > rows.length) list.lastChild.remove();
    while (list.children.length < rows.length) list.append(newBar());
    rows.forEach(({ label, text, share }, index) => {
      const item = list.children[index];
      const [name, track, number] = item.children;
      item.dataset.label = label;
      item.classList.toggle("best", label === best);
      say(name, label);
      track.firstChild.style.setProperty("--share", share);
      say(number, text);
    });
  }
}

function newBar() {
  const track = element("span", "track", element("span", "fill"));
  return element("li", "", element("span", "label"), track, element("span", "number"));
}

/** Few labels keep the model's order, so that bars do not move; of many, the best come first. */
function ordered(ranking, labels) {
  const scores = new Map(ranking.map((item) => [item.label, item]));
  const known = labels?.length === ranking.length && labels.length <= MAX_BARS && labels.every((label) => scores.has(label));
  return known ? labels.map((label) => scores.get(label)) : ranking.slice(0, MAX_BARS);
}
