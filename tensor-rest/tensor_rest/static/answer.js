// The answer: the best label, a bar for each, what the model saw, who answered and how fast. Nothing in it changes its
// place when an answer comes: what is empty keeps its room.
import { $, element, milliseconds, percent, say } from "./dom.js";
import { fromDataUrl } from "./pictures.js";

const MOST_BARS = 12;
const NO_ANSWER = { "Answered by": "–", "Round trip": "–", Model: "–", "In line": "–" };
let sawing = 0; // pictures arrive decoded in any order; the newest wins

/** The place of the answer, with the labels of the chosen model (null: not known). */
export function showEmpty(labels) {
  begin("empty");
  say($("best"), "");
  say($("sure"), "The answer appears here.");
  bars((labels ?? [..."0123456789"]).slice(0, MOST_BARS).map((label) => ({ label, score: null })));
  showSaw(null);
  facts(NO_ANSWER);
}

/** `labels`: all of the model's or null. `names`: the labels of the version that answered. */
export function showAnswer(answer, labels, names) {
  begin("answer");
  const [best] = answer.labels;
  const unsure = answer.unsure || best.score < 0.5;
  say($("best"), best.label);
  $("best").dataset.long = best.label.length > 3;
  say($("sure"), `${unsure ? "perhaps, with" : "with"} ${percent(best.score)}`);
  bars(ordered(answer.labels, labels));
  showSaw(answer.explain);
  facts({
    "Answered by": [`${answer.model} version ${answer.version}`, ...names].join(" · "),
    "Round trip": milliseconds(answer.total),
    Model: milliseconds(answer.computing),
    "In line": milliseconds(answer.queue),
    ...(answer.rules ? { "On the way": answer.rules.map(rule).join("; ") } : {}),
  });
}

/** What went wrong, in words; `hope` says what happens next. */
export function showProblem(refusal, hope) {
  begin("problem");
  $("answer").dataset.passes = Boolean(hope);
  say($("problem"), hope ? `${refusal.message} ${hope}` : refusal.message);
  bars([...$("bars").children].map((item) => ({ label: item.dataset.label, score: null })));
  showSaw(null);
  facts({ Status: refusal.status || "none", ...(refusal.request ? { Request: refusal.request } : {}) });
}

/** For those who listen, and only when a stroke is finished. */
export function announce(answer) {
  say($("said"), `${answer.labels[0].label}, with ${percent(answer.labels[0].score)}`);
}

function begin(state) {
  $("answer").dataset.state = state;
  if (state !== "problem") say($("problem"), "");
  if (state !== "answer") say($("said"), "");
}

/** Few labels stand in the model's order, so that bars grow where they are; of many, the best come first. */
function ordered(ranking, labels) {
  if (!labels || labels.length !== ranking.length) return ranking;
  const scores = new Map(ranking.map(({ label, score }) => [label, score]));
  return labels.map((label) => ({ label, score: scores.get(label) ?? 0 }));
}

function bars(rows) {
  const list = $("bars");
  while (list.children.length > rows.length) list.lastChild.remove();
  while (list.children.length < rows.length) list.append(newBar());
  const best = Math.max(...rows.map(({ score }) => score ?? 2));
  rows.forEach(({ label, score }, index) => {
    const item = list.children[index];
    const [name, track, number] = item.children;
    item.dataset.label = label;
    item.classList.toggle("best", score === best);
    say(name, label);
    track.firstChild.style.setProperty("--share", score ?? 0);
    say(number, score === null ? "" : percent(score));
  });
}

function newBar() {
  const track = element("span", "track", element("span", "fill"));
  return element("li", "", element("span", "label"), track, element("span", "number"));
}

async function showSaw(explain) {
  const mine = ++sawing;
  const canvas = $("saw");
  if (!explain) {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    return say($("why"), "The picture as it reaches the model, and how it was made of yours.");
  }
  const bitmap = await createImageBitmap(fromDataUrl(explain.saw));
  if (mine !== sawing) return;
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

function rule({ model, score, then, error }) {
  const next = then ? (error ? `, and ${then} could not answer: ${error}` : `, so ${then} was asked`) : "";
  return `${model} was unsure (${percent(score)})${next}`;
}

function facts(entries) {
  const pairs = Object.entries(entries).map(([name, value]) => [name, String(value)]);
  const pair = ([name, value]) => element("div", "", element("dt", "", name), element("dd", "", value));
  $("facts").replaceChildren(...pairs.map(pair));
}
