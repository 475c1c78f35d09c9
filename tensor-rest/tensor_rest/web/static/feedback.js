// "This was a ...": sends the right label of the image on the paper, for training in the workbench.
import { $, button, element, say } from "./dom.js";
import { Refusal, feedback, feedbackCount } from "./gateway.js";
import { copyOn } from "./shell.js";

const MAX_BUTTONS = 12;
const OFF = "Feedback is not kept here; TENSOR_REST_FEEDBACK_DIR names the folder to keep it in.";
const INVITATION = "Press what it really was. The image is kept for training.";

let tried = null; // the try {image, answer, keptLabel} that a label can be given to
let shown = null; // the labels, as text
let counted = {}; // {model, digits}: the model whose corrections are counted

/** Offer `labels` for the try `next`; if that is null, show them disabled. */
export function offer(next, labels) {
  tried = next;
  if ($("feedback").dataset.kept !== "yes") return say($("thanks"), OFF);
  const text = JSON.stringify(labels);
  if (text !== shown) $("labels").replaceChildren(...(labels?.length > MAX_BUTTONS ? choice(labels) : buttons(labels)));
  shown = text;
  for (const control of $("labels").querySelectorAll("button, select")) control.disabled = !tried;
  mark(tried?.keptLabel);
}

/** Show how many corrections of `model` were not used for training yet, and for `digits` the command that uses them. */
export async function count(model, digits) {
  const mine = (counted = { model, digits });
  const found = model && $("feedback").dataset.kept === "yes" ? await feedbackCount(model).catch(nothing) : null;
  if (mine !== counted) return;
  const waiting = found?.since_version ?? 0;
  $("waiting").hidden = !waiting;
  if (!waiting) return;
  const corrections = waiting === 1 ? "1 correction waits" : `${waiting} corrections wait`;
  say($("waiting-text"), `${corrections}, given since version ${found.version} was made.`);
  $("train-with").hidden = !digits;
  say($("train"), `bin/lab pipeline run --model ${model}`);
}

function nothing(error) {
  if (!(error instanceof Refusal)) throw error;
  return null;
}

copyOn($("copy-train"), $("train"));

function buttons(labels) {
  return (labels ?? []).map((label) => {
    const made = button("choice", () => send(label), label);
    made.dataset.label = label;
    return made;
  });
}

function choice(labels) {
  const select = element("select", "", ...labels.map((label) => new Option(label)));
  select.setAttribute("aria-label", "What it was");
  return [select, button("choice", () => send(select.value), "Keep")];
}

function mark(keptLabel) {
  for (const made of $("labels").querySelectorAll("[data-label]")) {
    made.setAttribute("aria-pressed", made.dataset.label === keptLabel);
  }
  delete $("thanks").dataset.state;
  say($("thanks"), keptLabel === undefined ? INVITATION : `Kept as ${keptLabel}, thank you. Another label takes its place.`);
}

async function send(label) {
  const mine = tried;
  try {
    const { stored } = await feedback(mine.answer.model, await mine.sent, label);
    mine.keptLabel = label;
    mine.changed?.();
    if (mine.answer.model === counted.model) count(counted.model, counted.digits);
    if (mine !== tried) return;
    mark(label);
    if (!stored) say($("thanks"), `This image was already kept as ${label}, thank you.`);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (mine !== tried) return;
    $("thanks").dataset.state = "bad";
    say($("thanks"), error.message);
  }
}
