// Reads periodically what is served, and shows whether the model server answers. Shows the form for an API key.
import { $, say } from "./dom.js";
import { Refusal, useKey } from "./gateway.js";
import * as listing from "./listing.js";
import * as served from "./served.js";

const LOOK_MS = 4000; // between looks at what is served,
const HOPE_MS = 1000; // while something is unavailable
const UNCHANGED = "This page keeps looking, and your image stays where it is.";

/** Sends the event "served" after each look at which the model server answers, and "key" when a key was given. */
export class Watch extends EventTarget {
  #timer = 0;
  hurried = false; // an image waits for its answer

  /** `wanted` returns the name of a model to look for, or undefined. */
  constructor(wanted) {
    super();
    this.wanted = wanted;
    document.addEventListener("visibilitychange", () => this.look());
    $("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      useKey($("key").value.trim());
      $("key").value = "";
      this.dispatchEvent(new Event("key"));
      this.look();
    });
  }

  async look() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    let pause = LOOK_MS;
    try {
      const state = await served.look(this.wanted());
      $("key-form").hidden = true;
      this.#running(state);
      if (!state.serving.ready) pause = HOPE_MS;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      pause = HOPE_MS;
      if (error.status === 401) {
        pause = Infinity; // until there is a key
        this.hurried = false;
        return this.showKeyForm(error);
      }
      health("bad", "The gateway does not answer");
      say($("banner"), `The gateway does not answer. ${UNCHANGED}`);
    } finally {
      this.after(this.hurried ? Math.min(pause, HOPE_MS) : pause);
    }
  }

  /** Look again after so many milliseconds. */
  after(pause = HOPE_MS) {
    clearTimeout(this.#timer);
    if (pause < Infinity) this.#timer = setTimeout(() => this.look(), pause);
  }

  showKeyForm(refusal) {
    $("key-form").hidden = false;
    say($("key-why"), refusal.message);
    health("fair", "API key required");
    say($("banner"), "");
  }

  #running(state) {
    const ready = state.models.filter((each) => each.ready).length;
    const count = `${ready} model${ready === 1 ? "" : "s"}`;
    if (!state.serving.ready) health("bad", "The model server is unavailable");
    else health(state.inventory.ready ? "good" : "fair", `Serving ${count}`);
    $("health").title = state.inventory.message;
    say($("banner"), state.serving.ready ? "" : `${state.serving.message} ${UNCHANGED}`);
    if (!state.serving.ready) return;
    listing.show(state);
    this.dispatchEvent(new Event("served"));
  }
}

function health(state, text) {
  $("health").dataset.state = state;
  say($("health"), text);
}
