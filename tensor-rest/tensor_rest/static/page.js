// The page: asks the gateway's own REST API what is running and what is on the paper.
import { Paper } from "./drawing.js";

const POLL_MS = 4000;
const MOST_ANSWERS = 10;
const MOST_RECENT = 8;

const $ = (id) => document.getElementById(id);
const paper = new Paper($("canvas"), () => paperChanged());
const details = new Map(); // model -> {key, document}: GET /tf/models/<model> of the versions `key` names
let ticket = 0; // of the newest question: answers to older ones are dropped
let waiting = false; // the last question failed because serving was away: ask again when it is back

// ---- asking

async function ask(blob, thumbnail) {
  const mine = ++ticket;
  const model = $("model").value;
  $("answer").setAttribute("aria-busy", "true");
  const started = performance.now();
  try {
    const response = await classify(model, blob);
    const milliseconds = performance.now() - started;
    const document = await response.json();
    if (mine !== ticket) return;
    waiting = response.status === 503;
    if (!response.ok) return showProblem(document);
    showAnswer(document.classification_result, response.headers, milliseconds);
    if (thumbnail) remember(blob, thumbnail, document.classification_result[0]);
  } catch (error) {
    if (mine === ticket) showProblem({ message: `The gateway does not answer (${error.message}).`, code: "", request_id: "" });
  } finally {
    if (mine === ticket) $("answer").removeAttribute("aria-busy");
  }
}

function classify(model, blob) {
  const form = new FormData();
  form.append("image", blob, "picture");
  const limit = Math.min(MOST_ANSWERS, labelCount(details.get(model)?.document));
  return fetch(`/tf/mnist/${encodeURIComponent(model)}?limit=${limit}`, { method: "POST", body: form });
}

function labelCount(model) {
  const card = model?.newest.card?.labels.length;
  const outputs = Object.values(model?.newest.signatures.serving_default?.outputs ?? {});
  const size = outputs.map((output) => output.shape?.at(-1)).find((last) => last > 0);
  return card ?? size ?? MOST_ANSWERS;
}

async function paperChanged() {
  $("undo").disabled = $("clear").disabled = paper.empty;
  showHint();
  if (paper.empty) {
    ticket++;
    waiting = false;
    showNothing();
  } else if (!$("model").disabled) {
    ask(await paper.blob(), paper.thumbnail());
  }
}

// ---- showing

function element(tag, text = "", name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

const percent = (value) => (value === null ? "" : value > 0 && value < 0.001 ? "< 0.1 %" : `${(value * 100).toFixed(1)} %`);

const INVITATION = $("hint").textContent;

function showHint() {
  $("hint").hidden = !paper.empty && (!paper.file || paper.bitmap !== null);
  $("hint").textContent = paper.file ? `${paper.file.name || "This file"} cannot be shown here` : INVITATION;
}

/** The place of the answer: the labels of the chosen model with nothing beside them. */
function showNothing() {
  const labels = details.get($("model").value)?.document.newest.card?.labels ?? [..."0123456789"];
  $("answer").dataset.state = "empty";
  $("answer").removeAttribute("aria-busy");
  $("lead").textContent = "The answer appears here.";
  $("problem").textContent = "";
  $("bars").replaceChildren(...labels.slice(0, MOST_ANSWERS).map((digit) => bar({ digit, probability: null })));
  $("facts").replaceChildren();
}

function showProblem({ message, code, request_id: request }) {
  $("answer").dataset.state = "problem";
  $("lead").textContent = "";
  $("problem").textContent = waiting ? `${message} Your picture is sent again as soon as it does.` : message;
  $("bars").replaceChildren();
  facts({ Status: code, Request: request });
}

function showAnswer(ranking, headers, milliseconds) {
  const [best] = ranking;
  $("answer").dataset.state = "answer";
  $("problem").textContent = "";
  const words = element("span", best.probability >= 0.5 ? `with ${percent(best.probability)}` : `perhaps, with ${percent(best.probability)}`);
  $("lead").replaceChildren(element("strong", String(best.digit)), words);
  $("bars").replaceChildren(...ranking.map(bar));
  const version = `${headers.get("X-Model-Name")} version ${headers.get("X-Model-Version")}`;
  facts({ "Answered by": version, "Round trip": `${Math.round(milliseconds)} ms` });
}

function bar({ digit, probability }) {
  const item = element("li");
  const track = element("span", "", "track");
  const fill = element("span", "", "fill");
  fill.style.setProperty("--share", probability);
  if (probability !== null) track.append(fill);
  item.append(element("span", String(digit), "label"), track, element("span", percent(probability), "number"));
  return item;
}

function facts(entries) {
  const known = Object.entries(entries).filter(([, value]) => value !== "");
  $("facts").replaceChildren(...known.map(([name, value]) => pair(name, String(value))));
}

function pair(name, value) {
  const group = element("div");
  group.append(element("dt", name), element("dd", value));
  return group;
}

// ---- recent tries

function remember(blob, thumbnail, best) {
  const button = element("button", "", "thumb");
  button.type = "button";
  button.append(thumbnail, element("span", String(best.digit)));
  button.setAttribute("aria-label", `Ask again: a try answered ${best.digit}`);
  button.addEventListener("click", () => ask(blob, null));
  const item = element("li");
  item.append(button);
  $("recent").prepend(item);
  while ($("recent").children.length > MOST_RECENT) $("recent").lastChild.remove();
  $("recent-box").hidden = false;
}

// ---- what is running

async function look() {
  if (document.hidden) return;
  try {
    const response = await fetch("/tf/models");
    const state = await response.json();
    if (!response.ok) throw new Error(state.message);
    await Promise.all(state.models.map(loadDetails));
    showRunning(state);
    if (waiting && state.serving.ready) paperChanged();
  } catch (error) {
    health("bad", `The gateway does not answer: ${error.message}`);
  }
}

async function loadDetails({ name, ready, versions }) {
  const key = JSON.stringify(versions);
  if (!ready || details.get(name)?.key === key) return;
  const response = await fetch(`/tf/models/${encodeURIComponent(name)}`);
  if (response.ok) details.set(name, { key, document: await response.json() });
}

function showRunning({ models, serving, inventory }) {
  const ready = models.filter((model) => model.ready);
  const count = `${ready.length} model${ready.length === 1 ? "" : "s"}`;
  if (!serving.ready) health("bad", serving.message);
  else health(inventory.ready ? "good" : "fair", inventory.ready ? `Serving ${count}` : `Serving ${count}. ${inventory.message}`);
  showChoice(ready.map((model) => model.name));
  $("served").replaceChildren(...(models.length ? models.map(card) : [element("li", "No model is served yet. Train and export one, and it appears here.")]));
}

function health(state, text) {
  if ($("health").textContent === text) return; // or screen readers would say it at each poll
  $("health").dataset.state = state;
  $("health").textContent = text;
}

function showChoice(names) {
  const select = $("model");
  const shown = [...select.options].map((option) => option.value);
  if (names.length === 0 || names.join() === shown.join()) return;
  const chosen = select.disabled ? select.dataset.default : select.value;
  select.replaceChildren(...names.map((name) => new Option(name)));
  if (names.includes(chosen)) select.value = chosen;
  const first = select.disabled;
  select.disabled = false;
  showCurl();
  if (first && !paper.empty) paperChanged();
}

function card(model) {
  const newest = details.get(model.name)?.document.newest;
  const item = element("li");
  item.append(element("h3", model.name));
  const chips = element("p", "", "chips");
  chips.append(...model.versions.map((version) => chip(version, model.labels)));
  if (model.versions.length === 0) chips.append(element("span", "not loaded", "chip"));
  item.append(chips, element("p", summary(newest), "small"));
  for (const { version, reason } of model.quarantined) item.append(element("p", `Version ${version} is not served: ${reason}`, "warning"));
  return item;
}

function chip({ version, state, error }, labels) {
  const names = Object.keys(labels).filter((label) => labels[label] === version);
  const made = element("span", [`version ${version}`, ...names, state.toLowerCase()].join(" · "), "chip");
  made.dataset.state = state;
  made.title = error;
  return made;
}

function summary(newest) {
  if (!newest) return "";
  const accuracy = newest.card?.metrics?.test_accuracy;
  const labels = newest.card?.labels;
  const input = Object.values(newest.signatures.serving_default?.inputs ?? {})[0];
  return [
    accuracy ? `${(accuracy * 100).toFixed(2)} % right on unseen data` : "",
    labels ? `answers ${labels.slice(0, 10).join(" ")}${labels.length > 10 ? " …" : ""}` : "",
    input?.shape ? `takes ${input.shape.slice(1).join(" × ")} ${input.dtype}` : "",
  ].filter(Boolean).join(" · ");
}

function showCurl() {
  $("curl").textContent = `curl -F image=@digit.jpg ${location.origin}/tf/mnist/${$("model").value}`;
}

// ---- events

function choose(files) {
  if (files?.length) paper.show(files[0]);
}

$("canvas").addEventListener("drawing", () => ($("hint").hidden = true));
$("undo").addEventListener("click", () => paper.undo());
$("clear").addEventListener("click", () => paper.clear());
$("file").addEventListener("change", (event) => {
  choose(event.target.files);
  event.target.value = ""; // the same file may be chosen again
});
$("model").addEventListener("change", () => {
  showCurl();
  if (!paper.empty) paperChanged();
});
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText($("curl").textContent);
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy"), 1500);
});

addEventListener("paste", (event) => choose(event.clipboardData?.files));
addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "z" && !paper.empty) paper.undo();
});
for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    $("paper").classList.toggle("target", name === "dragover");
    if (name === "drop") choose(event.dataTransfer.files);
  });
}
document.addEventListener("visibilitychange", look);
showNothing();
setInterval(look, POLL_MS);
look();
