// The answer of the chosen model, what it saw, which version answered and how fast. The layout does not move when an
// answer arrives: empty parts keep their place.
import { $, element, milliseconds, say } from "./dom.js";
import { fromDataUrl } from "./image_files.js";
import { headline, percent, probabilities, words } from "./scores.js";
import { Side } from "./side.js";

const NO_ANSWER = { "Answered by": "–", "Round trip": "–", Model: "–", Queue: "–" };
const side = new Side("", $("answer"));
let newestSaw = 0; // number of the newest image to show; older ones may finish decoding after it

/** Show an empty answer, with the labels of the chosen model (or null). */
export function showEmpty(labels) {
  side.empty("The answer appears here.", labels);
  clear(NO_ANSWER);
}

/** `labels`: all class labels of the model, or null. `names`: the version labels (stable, ...) of the version that answered. */
export function showAnswer(answer, card, labels, names) {
  const reading = side.labels(answer, card, labels);
  showSaw(answer.explain);
  facts({
    "Answered by": answeredBy(answer, names),
    "Round trip": milliseconds(answer.total),
    Model: milliseconds(answer.computing),
    Queue: milliseconds(answer.queue),
    ...(answer.concept ? { "Concept score": conceptScore(answer.concept) } : {}),
    ...(answer.rules ? { "On the way": answer.rules.map(rule).join("; ") } : {}),
  });
  return reading;
}

/** Show the outputs of a signature: with labels if the card has one for each value, else unchanged. */
export function showOutputs(answer, card, names) {
  showPredicted(side, answer, card);
  say($("said"), "The outputs are shown.");
  facts({ "Answered by": answeredBy(answer, names), "Round trip": milliseconds(answer.total) });
}

/** Show the outputs in a column, as `showOutputs` does. */
export function showPredicted(at, { outputs }, card) {
  const aliases = Object.keys(outputs);
  const alias = aliases.length === 1 ? aliases[0] : "scores";
  const scores = outputs[alias];
  const row = Array.isArray(scores) && scores.length === 1 ? scores[0] : null;
  const labels = card?.labels;
  if (!labels?.length || row?.length !== labels.length || row.some((score) => typeof score !== "number")) return at.outputs(outputs);
  const shares = probabilities(row, alias, card);
  const ranking = labels.map((label, index) => ({ label, score: shares[index] })).sort((a, b) => b.score - a.score);
  return at.labels({ labels: ranking }, card, labels);
}

/** Show an error; `hope` is a sentence about what happens next, or "". */
export function showProblem(refusal, hope) {
  side.problem(hope ? `${refusal.message} ${hope}` : refusal.message);
  $("answer").dataset.passes = Boolean(hope);
  clear({ Status: refusal.status || "none", ...(refusal.request ? { Request: refusal.request } : {}) });
}

/** Show why the image cannot be classified. */
export function showHint(text) {
  side.hint(text);
  say($("said"), text);
  clear(NO_ANSWER);
}

/** Announce an answer to screen readers; it is called only when a stroke is finished. */
export function announce(reading) {
  say($("said"), `${headline(reading)}, ${words(reading)}`);
}

export const answeredBy = (answer, names) => [`${answer.model} version ${answer.version}`, ...names].join(" · ");

function clear(entries) {
  if (!["answer", "hint"].includes($("answer").dataset.state)) say($("said"), "");
  showSaw(null);
  facts(entries);
}

async function showSaw(explain) {
  const mine = ++newestSaw;
  const canvas = $("saw");
  if (!explain) {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    return say($("why"), "The image as the model receives it, and how it was made from yours.");
  }
  const bitmap = await createImageBitmap(fromDataUrl(explain.saw));
  if (mine !== newestSaw) return;
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  say($("why"), reasons(explain));
}

function reasons({ polarity, size }) {
  const { width, height, channels } = size.model;
  const pixels = `${width} × ${height} pixels in ${channels === 1 ? "grey" : "colour"}: ${size.how}.`;
  return `${pixels} ${polarity.inverted ? "Inverted" : "Not inverted"}: ${polarity.why}.`;
}

/** How unlike the training images the image is, and the threshold up to which it counts as like them. */
function conceptScore({ score, threshold, in_distribution: inside }) {
  return `${score.toPrecision(2)}, ${inside ? "within" : "over"} the threshold of ${threshold.toPrecision(2)}`;
}

function rule({ model, score, then, error }) {
  const next = then ? (error ? `, and ${then} could not answer: ${error}` : `, so ${then} was called`) : "";
  return `${model} was unsure (${percent(score)})${next}`;
}

function facts(entries) {
  const pairs = Object.entries(entries).map(([name, value]) => [name, String(value)]);
  const pair = ([name, value]) => element("div", "", element("dt", "", name), element("dd", "", value));
  $("facts").replaceChildren(...pairs.map(pair));
}
