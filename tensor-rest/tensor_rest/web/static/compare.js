// The second answer, beside the first, for the same input: of another model, version or label.
import { answeredBy, showPredicted } from "./answer.js";
import { $, milliseconds, say } from "./dom.js";
import { Refusal, classify, predict } from "./gateway.js";
import * as served from "./served.js";
import { Side } from "./side.js";

const side = new Side("second-", $("second"));
let inFlight = null;

/** Open or close the second column; "" closes it. */
export function compareWith(target) {
  cancel();
  $("second").hidden = !target;
  $("answer").dataset.compared = Boolean(target);
  if (target) empty(target);
  say($("first-title"), target ? name($("model").value) : "");
}

export function cancel() {
  inFlight?.abort();
  inFlight = null;
}

/** Clear the last answer. */
export function empty(target) {
  cancel();
  if (!target) return;
  side.empty("Its answer appears here.", served.takesImages(target) ? served.labelsOf(target) : null);
  title(target, "");
}

export function hint(text) {
  cancel();
  side.hint(text);
}

/** Classify an image {name, blob} with the second target. */
export function classifyImage(target, image) {
  return answered(target, async (signal) => {
    const [answer] = await classify(target, [image], signal);
    if (answer.error) return side.hint(answer.error);
    const by = served.targetOf(answer);
    side.labels(answer, served.cardOf(by), served.labelsOf(by));
    title(target, `${answeredBy(answer, served.namesOf(answer.model, answer.version))}, ${milliseconds(answer.computing)}`);
  });
}

/** Run a signature of the second target on `inputs`. */
export function runSignature(target, signature, inputs) {
  return answered(target, async (signal) => {
    const answer = await predict(target, signature, inputs, signal);
    showPredicted(side, answer, served.cardOf(served.targetOf(answer)));
    title(target, answeredBy(answer, served.namesOf(answer.model, answer.version)));
  });
}

async function answered(target, call) {
  cancel();
  const mine = (inFlight = new AbortController());
  try {
    await call(mine.signal);
  } catch (error) {
    if (mine.signal.aborted) return;
    if (!(error instanceof Refusal)) throw error;
    title(target, "");
    side.problem(error.message);
  }
}

function title(target, text) {
  say($("second-title"), name(target));
  say($("second-by"), text);
}

const name = (target) => decodeURIComponent(target).replace("/versions/", " version ").replace("/labels/", " · ");
