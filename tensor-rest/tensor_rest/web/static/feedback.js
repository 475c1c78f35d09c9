// "This was a ...": the right label of the picture on the paper, for the workbench to train from.
import { $, button, element, say } from "./dom.js";
import { Refusal, feedback } from "./gateway.js";

const MAX_BUTTONS = 12;
const OFF = "Feedback is not kept here; TENSOR_REST_FEEDBACK_DIR names the folder to keep it in.";
const INVITATION = "Press what it really was. The picture is kept for training.";

let tried = null; // {picture, answer, keptLabel} the labels are offered for
let shown = null; // the labels, as text

/** Offer `labels` for a try, or only their place where that is null. */
export function offer(next, labels) {
  tried = next;
  if ($("feedback").dataset.kept !== "yes") return say($("thanks"), OFF);
  const text = JSON.stringify(labels);
  if (text !== shown) $("labels").replaceChildren(...(labels?.length > MAX_BUTTONS ? choice(labels) : buttons(labels)));
  shown = text;
  for (const control of $("labels").querySelectorAll("button, select")) control.disabled = !tried;
  mark(tried?.keptLabel);
}

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
    if (mine !== tried) return;
    mark(label);
    if (!stored) say($("thanks"), `Known as ${label} already, thank you all the same.`);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (mine !== tried) return;
    $("thanks").dataset.state = "bad";
    say($("thanks"), error.message);
  }
}
