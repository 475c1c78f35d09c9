// The two selects: the model that answers, and one to compare it with.
import { $, element, say } from "./dom.js";
import * as served from "./served.js";

const NONE = "no model yet";

/** Sends the events "model" and "second" when another target is chosen; `detail.byHand`: a person chose it. */
export class Chooser extends EventTarget {
  wanted = new URLSearchParams(location.search).get("model"); // chosen as soon as it is served

  constructor() {
    super();
    $("model").addEventListener("change", () => {
      this.wanted = this.target;
      say($("note"), "");
      this.#fillSecond();
      this.#changed("model", true);
    });
    $("second-model").addEventListener("change", () => this.#changed("second", true));
    $("compare-candidate").addEventListener("click", () => {
      $("second-model").value = `${this.model}/labels/candidate`;
      this.#changed("second", true);
    });
  }

  get target() {
    return $("model").value;
  }

  get model() {
    return served.modelOf(this.target);
  }

  /** The target to compare with, or "". */
  get second() {
    return $("second-model").value;
  }

  /** Show what can be chosen now; the wanted target is chosen as soon as it is served. */
  update() {
    const select = $("model");
    const before = this.target;
    fill(select, served.choices(), NONE);
    const targets = [...select.options].map(({ value }) => value);
    const [first] = targets.filter(served.takesImages);
    const chosen = [this.wanted, before, select.dataset.default].find((target) => target && targets.includes(target));
    select.value = chosen ?? first ?? targets[0];
    const missing = this.wanted && this.target !== this.wanted;
    const none = "No model is served yet; your image is sent as soon as one is.";
    say($("note"), !this.target ? none : missing ? `${this.wanted} is not served now; ${this.target} answers.` : "");
    const second = this.second;
    this.#fillSecond();
    if (this.target !== before) this.#changed("model", false, before);
    else if (this.second !== second) this.#changed("second", false);
  }

  /** Offer the targets that take the same inputs, except the chosen one. */
  #fillSecond() {
    const second = this.second;
    const suits = ({ target }) => target !== this.target && comparable(this.target, target);
    const others = served.choices().map(({ name, choices }) => ({ name, choices: choices.filter(suits) }));
    fill($("second-model"), others.filter(({ choices }) => choices.length), "nothing", true);
    const targets = [...$("second-model").options].map(({ value }) => value);
    $("second-model").value = targets.includes(second) ? second : "";
    $("compare").hidden = targets.length < 2;
    const version = served.candidateOf(this.model);
    $("candidate").hidden = version === null;
    if (version !== null) say($("candidate-text"), `Version ${version} is a candidate: it is served, but it is not the default.`);
    const target = `${this.model}/labels/candidate`;
    $("compare-candidate").hidden = !targets.includes(target) || this.second === target;
  }

  #changed(name, byHand, before) {
    if (name === "second") $("compare-candidate").hidden = this.second === `${this.model}/labels/candidate`;
    this.dispatchEvent(new CustomEvent(name, { detail: { byHand, before } }));
  }
}

/** Whether two targets take the same inputs. */
function comparable(target, other) {
  if (served.takesImages(target) || served.takesImages(other)) return served.takesImages(target) && served.takesImages(other);
  return inputs(target) === inputs(other);
}

function inputs(target) {
  const [first] = Object.values(served.signaturesOf(target));
  return JSON.stringify(Object.entries(first?.inputs ?? {}).map(([alias, { dtype, shape }]) => [alias, dtype, shape?.length]));
}

/** Show the groups as options; an empty choice comes first if `optional`, or if there is no other. */
function fill(select, groups, none, optional = false) {
  const text = JSON.stringify(groups);
  if (select.dataset.text === text) return;
  const options = groups.map(({ name, choices }) => {
    const made = choices.map(({ target, text: shown }) => new Option(shown, target));
    return made.length === 1 ? made[0] : Object.assign(element("optgroup", "", ...made), { label: name });
  });
  const empty = optional || options.length === 0 ? [new Option(none, "")] : [];
  select.replaceChildren(...empty, ...options);
  select.dataset.text = text;
  select.disabled = options.length === 0;
}
