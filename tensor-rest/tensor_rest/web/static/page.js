// The page: sends the drawing, image or form to the chosen model, and to a second one if there is one to compare.
import { announce, showAnswer, showEmpty, showHint, showOutputs, showProblem } from "./answer.js";
import { cameraOn, close as closeCamera } from "./camera.js";
import { Chooser } from "./chooser.js";
import * as compare from "./compare.js";
import { $, say } from "./dom.js";
import { Paper } from "./drawing.js";
import { count, offer } from "./feedback.js";
import { filledIn, showForm } from "./form.js";
import { galleryOn } from "./gallery.js";
import { Refusal, classify, predict } from "./gateway.js";
import { penOn } from "./pen.js";
import { opened } from "./image_files.js";
import { Recent } from "./recent.js";
import * as served from "./served.js";
import { Several } from "./several.js";
import { showImageCall, showTensorCall } from "./shell.js";
import { Watch } from "./watch.js";

const LIVE_MS = 120; // between requests while a stroke grows
const HOPE = "Your image is sent again as soon as it may be answered.";
const BLANK = "Nothing is drawn: no stroke stands out from the background.";

const most = { bytes: Number(document.body.dataset.maxBytes), pixels: Number(document.body.dataset.maxPixels) };
const chooser = new Chooser();
const watch = new Watch(() => chooser.wanted?.split("/")[0]);
const paper = new Paper($("canvas"));
const recent = new Recent($("recent"), $("recent-box"), open);
const several = new Several(most, (item) => open(itemTry(item)));

let inFlight = null; // the request in flight
let live = 0; // timer of the next request for a growing stroke

const imageMode = () => document.body.dataset.mode === "image";
const wantsImage = () => served.takesImages(chooser.target) || !chooser.target;

// ---- an image

/** Classify what is on the paper; a `growing` stroke only if no request is in flight. */
async function question(growing = false) {
  const { target, second } = chooser;
  if (!target || !imageMode() || paper.empty || (growing && (inFlight || watch.hurried))) return;
  const mine = renew();
  if (isGlyph(chooser.target) && paper.blank) return nothingDrawn();
  if (!growing) {
    $("answer").setAttribute("aria-busy", "true");
    offer(null, served.labelsOf(chooser.target)); // otherwise a label could be given to the previous image
  }
  const { serial, image } = paper;
  const strokes = paper.strokes.map((stroke) => [...stroke]);
  try {
    const sent = { name: image?.name, blob: await paper.blob() };
    if (second && !growing) compare.classifyImage(second, sent);
    const [answer] = await classify(target, [sent], mine.signal);
    watch.hurried = false;
    if (growing) return show(answer);
    answered({ serial, strokes, sent, image: image && sent, answer });
  } catch (error) {
    if (mine.signal.aborted) return;
    refused(error, HOPE);
  } finally {
    if (inFlight === mine) renew(null);
  }
}

/** Abort the previous request; `next` becomes the one in flight. */
function renew(next = new AbortController()) {
  inFlight?.abort();
  clearTimeout(live);
  live = 0;
  inFlight = next;
  $("answer").removeAttribute("aria-busy");
  return next;
}

const isGlyph = (target) => served.cardOf(target)?.input?.centering === "mnist";

function nothingDrawn() {
  renew(null);
  watch.hurried = false;
  hint(BLANK);
  if (chooser.second) compare.hint(BLANK);
}

function hint(text) {
  showHint(text);
  offer(null, served.labelsOf(chooser.target));
}

function answered(tried) {
  announce(showTry(tried));
  recent.keep(tried, paper);
}

function refused(error, hope) {
  if (!(error instanceof Refusal)) throw error;
  watch.hurried = error.passes && imageMode();
  if (error.status === 400 && imageMode()) return hint(error.message); // the image has no glyph, for example
  showProblem(error, watch.hurried ? hope : "");
  offer(null, served.labelsOf(chooser.target));
  if (error.status === 401) watch.showKeyForm(error);
  if (watch.hurried) watch.after();
}

// ---- tensors

async function run() {
  const { target, second } = chooser;
  const filled = filledIn();
  if (!filled || !target) return;
  const { signature, inputs } = filled;
  showTensorCall(target, signature, inputs);
  const mine = renew();
  $("answer").setAttribute("aria-busy", "true");
  try {
    if (second) compare.runSignature(second, signature, inputs);
    const answer = await predict(target, signature, inputs, mine.signal);
    showOutputs(answer, served.cardOf(served.targetOf(answer)), served.namesOf(answer.model, answer.version));
  } catch (error) {
    if (mine.signal.aborted) return;
    refused(error, "");
  } finally {
    if (inFlight === mine) renew(null);
  }
}

// ---- showing

function show(answer) {
  const by = served.targetOf(answer);
  return showAnswer(answer, served.cardOf(by), served.labelsOf(by), served.namesOf(answer.model, answer.version));
}

function showTry(tried) {
  tried.changed = () => recent.save();
  offer(tried, served.labelsOf(served.targetOf(tried.answer)) ?? tried.answer.labels.map(({ label }) => label));
  return show(tried.answer);
}

/** Show an earlier try again, with its answer. */
async function open(tried) {
  const mine = renew();
  watch.hurried = false;
  const bitmap = tried.image && (await createImageBitmap(tried.image.blob).catch(() => null));
  if (inFlight !== mine) return;
  renew(null);
  paper.putBack({ ...tried, image: tried.image && { ...tried.image, bitmap } });
  tried.sent ??= tried.image ?? paper.blob().then((blob) => ({ blob }));
  showPaper();
  showTry(tried);
  if (chooser.second) compare.classifyImage(chooser.second, await tried.sent);
}

function itemTry(item) {
  const image = { name: item.name, blob: item.blob };
  item.try ??= { serial: paper.number(), strokes: [], image, sent: image };
  return Object.assign(item.try, { answer: item.answer });
}

function showNothing() {
  const labels = served.labelsOf(chooser.target);
  showEmpty(imageMode() ? labels ?? [] : []);
  offer(null, labels);
  compare.empty(chooser.second);
}

const INVITATION = $("hint").textContent;

function showPaper() {
  $("undo").disabled = $("clear").disabled = paper.empty;
  $("hint").hidden = !paper.empty && (!paper.image || paper.image.bitmap !== null);
  say($("hint"), paper.image ? `${paper.image.name || "This file"} cannot be shown here` : INVITATION);
}

/** `answered`: the paper shows a recent try with its answer, opened before the models were known. */
function modelChanged(answered = false) {
  const { model, target } = chooser;
  const images = wantsImage();
  document.body.dataset.mode = images ? "image" : "form";
  renew(null);
  watch.hurried = false;
  if (several.shown && images) several.classify(target);
  if (images) {
    const digits = (served.labelsOf(target) ?? []).every((label) => /^\d$/.test(label));
    say($("try-title"), digits ? "Draw a digit" : "Draw or drop an image");
    $("gallery").hidden = !digits;
    count(model, digits);
    showImageCall(target);
    if (paper.empty) showNothing();
    else if (!answered) question();
  } else {
    closeCamera();
    several.putAway();
    say($("try-title"), "Fill in the inputs");
    showForm(target);
    showNothing();
    const filled = filledIn();
    if (filled) showTensorCall(target, filled.signature, filled.inputs);
  }
}

// ---- events

chooser.addEventListener("model", ({ detail: { byHand, before } }) => {
  if (byHand) history.replaceState(null, "", `?model=${encodeURIComponent(chooser.wanted).replaceAll("%2F", "/")}`);
  compare.compareWith(chooser.second);
  modelChanged(before === "" && $("answer").dataset.state === "answer");
});
chooser.addEventListener("second", async ({ detail: { byHand } }) => {
  compare.compareWith(chooser.second);
  if (!chooser.second || !byHand) return;
  if (!imageMode()) {
    if ($("answer").dataset.state === "answer") run();
  } else if (!paper.empty) {
    if (isGlyph(chooser.target) && paper.blank) compare.hint(BLANK);
    else compare.classifyImage(chooser.second, { name: paper.image?.name, blob: await paper.blob() });
  }
});
watch.addEventListener("served", () => {
  chooser.update();
  // The chosen model could not be described before: whether it takes images is known only now.
  if (served.profile(chooser.target) && imageMode() !== wantsImage()) modelChanged();
  if (watch.hurried) question();
  if (several.stopped) several.resume(chooser.target);
  if (!imageMode()) showForm(chooser.target);
});
watch.addEventListener("key", () => (watch.hurried = !paper.empty));

async function take(files) {
  if (!files?.length) return;
  if (!imageMode()) return say($("note"), `${chooser.model} does not take images; choose a model that does.`);
  say($("note"), "");
  closeCamera();
  if (files.length > 1) return several.start(files, chooser.target);
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
  watch.hurried = watch.hurried && !paper.empty;
  if (paper.empty) showNothing();
  else question();
});
$("undo").addEventListener("click", () => paper.undo());
$("clear").addEventListener("click", () => paper.clear());
$("file").addEventListener("change", (event) => {
  take([...event.target.files]);
  event.target.value = ""; // the same file may be chosen again
});
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
addEventListener("paste", (event) => take([...(event.clipboardData?.files ?? [])]));
addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || paper.empty || !imageMode()) return;
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

penOn(paper, $("pen"));
cameraOn((file) => take([file]));
galleryOn((file) => {
  take([file]);
  $("paper").scrollIntoView({ block: "nearest" });
});
showNothing();
recent.restore().then((highest) => paper.startAfter(highest));
watch.look();
