// The page: what is on the paper is asked of the chosen model, again at each stroke. The other modules are its rooms.
import { announce, showAnswer, showEmpty, showProblem } from "./answer.js";
import { $, element, say } from "./dom.js";
import { Paper } from "./drawing.js";
import { offer } from "./feedback.js";
import { Refusal, classify, hasKey, useKey } from "./gateway.js";
import { penOn } from "./pen.js";
import { opened } from "./pictures.js";
import { Recent } from "./recent.js";
import * as served from "./served.js";
import { Several } from "./several.js";

const LOOK_MS = 4000; // between looks at what is served,
const HOPE_MS = 1000; // while something is away
const LIVE_MS = 120; // between questions while a stroke grows
const PATIENCE = "This page keeps looking, and your picture stays where it is.";
const HOPE = "Your picture is sent again as soon as it may be answered.";

const most = { bytes: Number(document.body.dataset.mostBytes), pixels: Number(document.body.dataset.mostPixels) };
const paper = new Paper($("canvas"));
const recent = new Recent($("recent"), $("recent-box"), open);
const several = new Several(most, (item) => open(itemTry(item)));

let wanted = new URLSearchParams(location.search).get("model"); // who is to answer, if it is served
let asking = null; // the question under way
let waiting = false; // the last question was refused for now: it is asked again
let live = 0; // timer of the next question about a growing stroke
let looking = 0; // timer of the next look

// ---- asking

/** Ask about what is on the paper; a `growing` stroke only if nothing else is under way. */
async function question(growing = false) {
  const target = $("model").value;
  if (!target || paper.empty || (growing && (asking || waiting))) return;
  const mine = renew();
  if (!growing) $("answer").setAttribute("aria-busy", "true");
  const { serial, picture } = paper;
  const strokes = paper.strokes.map((stroke) => [...stroke]);
  try {
    const sent = { name: picture?.name, blob: await paper.blob() };
    const [answer] = await classify(target, [sent], mine.signal);
    waiting = false;
    if (growing) return show(answer);
    answered({ serial, strokes, sent, picture: picture && sent, answer });
  } catch (error) {
    if (mine.signal.aborted) return;
    refused(error);
  } finally {
    if (asking === mine) renew(null);
  }
}

/** What was asked before is of no interest any more. */
function renew(next = new AbortController()) {
  asking?.abort();
  clearTimeout(live);
  live = 0;
  asking = next;
  $("answer").removeAttribute("aria-busy");
  return next;
}

function answered(tried) {
  showTry(tried);
  announce(tried.answer);
  recent.keep(tried, paper);
}

function refused(error) {
  if (!(error instanceof Refusal)) throw error;
  waiting = error.passes;
  showProblem(error, waiting ? HOPE : "");
  offer(null, served.labelsOf(model()));
  if (error.status === 401) askForKey(error);
  if (waiting) lookAfter(HOPE_MS);
}

// ---- showing

const model = () => $("model").value.split("/")[0];

function show(answer) {
  showAnswer(answer, served.labelsOf(answer.model), served.namesOf(answer.model, answer.version));
}

function showTry(tried) {
  tried.changed = () => recent.save();
  show(tried.answer);
  offer(tried, served.labelsOf(tried.answer.model) ?? tried.answer.labels.map(({ label }) => label));
}

/** An earlier try, with the answer it had. */
async function open(tried) {
  const mine = renew();
  waiting = false;
  const bitmap = tried.picture && (await createImageBitmap(tried.picture.blob).catch(() => null));
  if (asking !== mine) return;
  renew(null);
  paper.putBack({ ...tried, picture: tried.picture && { ...tried.picture, bitmap } });
  tried.sent ??= tried.picture ?? paper.blob().then((blob) => ({ blob }));
  showPaper();
  showTry(tried);
}

function itemTry(item) {
  const picture = { name: item.name, blob: item.blob };
  item.try ??= { serial: paper.number(), strokes: [], picture, sent: picture };
  return Object.assign(item.try, { answer: item.answer });
}

function showNothing() {
  showEmpty(served.labelsOf(model()));
  offer(null, served.labelsOf(model()));
}

const INVITATION = $("hint").textContent;

function showPaper() {
  $("undo").disabled = $("clear").disabled = paper.empty;
  $("hint").hidden = !paper.empty && (!paper.picture || paper.picture.bitmap !== null);
  say($("hint"), paper.picture ? `${paper.picture.name || "This file"} cannot be shown here` : INVITATION);
}

// ---- what is served

async function look() {
  clearTimeout(looking);
  if (document.hidden) return;
  let pause = LOOK_MS;
  try {
    const state = await served.look(wanted?.split("/")[0]);
    $("key-form").hidden = true;
    running(state);
    if (!state.serving.ready) pause = HOPE_MS;
    else if (waiting) question();
    if (state.serving.ready && several.stopped) several.resume($("model").value);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    pause = HOPE_MS;
    if (error.status === 401) {
      pause = Infinity; // until there is a key
      return askForKey(error);
    }
    health("bad", "The gateway does not answer");
    say($("banner"), `The gateway does not answer. ${PATIENCE}`);
  } finally {
    lookAfter(waiting ? Math.min(pause, HOPE_MS) : pause);
  }
}

function lookAfter(pause) {
  clearTimeout(looking);
  if (pause < Infinity) looking = setTimeout(look, pause);
}

function running(state) {
  const ready = state.models.filter((each) => each.ready).length;
  const count = `${ready} model${ready === 1 ? "" : "s"}`;
  if (!state.serving.ready) health("bad", "Serving is away");
  else health(state.inventory.ready ? "good" : "fair", `Serving ${count}`);
  $("health").title = state.inventory.message;
  say($("banner"), state.serving.ready ? "" : `${state.serving.message} ${PATIENCE}`);
  if (!state.serving.ready) return;
  served.show(state);
  choose(served.choices());
}

function health(state, text) {
  $("health").dataset.state = state;
  say($("health"), text);
}

/** The models to choose from; the wanted one is taken as soon as it is there. */
function choose(groups) {
  const select = $("model");
  const before = select.value;
  const options = groups.map(({ name, choices }) => {
    const made = choices.map(({ target, text }) => new Option(text, target));
    return made.length === 1 ? made[0] : Object.assign(element("optgroup", "", ...made), { label: name });
  });
  const text = JSON.stringify(groups);
  if (select.dataset.text !== text) {
    select.replaceChildren(...(options.length ? options : [new Option("no model of pictures yet", "")]));
    select.dataset.text = text;
    select.disabled = options.length === 0;
  }
  const targets = [...select.options].map(({ value }) => value);
  const chosen = [wanted, before, select.dataset.default].find((target) => target && targets.includes(target));
  select.value = chosen ?? targets[0];
  const missing = wanted && select.value !== wanted;
  const nobody = "No model that takes pictures is served yet; your picture waits for one.";
  say($("note"), !select.value ? nobody : missing ? `${wanted} is not served now; ${select.value} answers.` : "");
  if (select.value !== before) modelChanged(before === "" && $("answer").dataset.state === "answer");
}

/** `answered`: what is on the paper had its answer before, from an earlier look at the page. */
function modelChanged(answered = false) {
  const digits = (served.labelsOf(model()) ?? []).every((label) => /^\d$/.test(label));
  say($("try-title"), digits ? "Draw a digit" : "Draw or drop a picture");
  const secret = hasKey() ? ' -H "X-API-Key: $LAB_API_KEY"' : "";
  say($("curl"), `curl -F image=@digit.jpg${secret} ${location.origin}/tf/models/${$("model").value}/classify`);
  if (paper.empty) showNothing();
  else if (!answered) question();
  if (several.shown) several.ask($("model").value);
}

// ---- the key

function askForKey(refusal) {
  $("key-form").hidden = false;
  say($("key-why"), refusal.message);
  health("fair", "Wants an API key");
  say($("banner"), "");
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey($("key").value.trim());
  $("key").value = "";
  waiting = !paper.empty;
  look();
});

// ---- events

async function take(files) {
  if (!files?.length) return;
  if (files.length > 1) return several.start(files, $("model").value);
  several.putAway();
  paper.show(await opened(files[0], most));
}

paper.addEventListener("ink", () => {
  $("hint").hidden = true;
  live ||= setTimeout(() => {
    live = 0;
    question(true);
  }, LIVE_MS);
});
paper.addEventListener("change", () => {
  showPaper();
  renew(null);
  waiting = waiting && !paper.empty;
  if (paper.empty) showNothing();
  else question();
});
$("undo").addEventListener("click", () => paper.undo());
$("clear").addEventListener("click", () => paper.clear());
$("file").addEventListener("change", (event) => {
  take([...event.target.files]);
  event.target.value = ""; // the same file may be chosen again
});
$("model").addEventListener("change", () => {
  wanted = $("model").value;
  say($("note"), "");
  history.replaceState(null, "", `?model=${encodeURIComponent(wanted).replaceAll("%2F", "/")}`);
  modelChanged();
});
$("copy").addEventListener("click", async () => {
  getSelection().selectAllChildren($("curl")); // where the clipboard is closed to pages, Ctrl+C is left to do
  const done = await navigator.clipboard?.writeText($("curl").textContent).then(() => true, () => false);
  say($("copy"), done ? "Copied" : "Selected");
  setTimeout(() => say($("copy"), "Copy"), 1500);
});
addEventListener("paste", (event) => take([...(event.clipboardData?.files ?? [])]));
addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || paper.empty) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "z") paper.undo();
  else if (event.key === "Delete") paper.clear();
  else return;
  event.preventDefault();
});
for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    $("paper").classList.toggle("target", name === "dragover");
    if (name === "drop") take([...event.dataTransfer.files]);
  });
}
document.addEventListener("visibilitychange", look);

penOn(paper, $("pen"));
showNothing();
recent.restore().then((highest) => paper.startAfter(highest));
look();
