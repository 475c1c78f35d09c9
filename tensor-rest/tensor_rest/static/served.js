// What is served: asked again and again, shown as a list, and as the choice of who answers.
import { $, element } from "./dom.js";
import { Refusal, model as describe, models as list } from "./gateway.js";

const MOST_LABELS = 1000; // of a model without a card, whose labels are the indices of its scores

const details = new Map(); // model -> {key, document}: GET /tf/models/<model> of the versions `key` names
let summaries = []; // of GET /tf/models
let drawn = null; // the list of what is running, as text: it is made anew only if it is another

/** Ask what is served. `wanted` names a model that is looked for where there is no full list. Raises Refusal. */
export async function look(wanted) {
  const state = await list();
  const known = state.models.some(({ name }) => name === wanted);
  const unlisted = !state.inventory.ready && state.serving.ready && !known && wanted;
  const extra = unlisted ? await looked(() => describe(wanted)) : null;
  summaries = extra ? [...state.models, extra] : state.models;
  await Promise.all(summaries.map((summary) => looked(() => learn(summary))));
  return { ...state, models: summaries };
}

/** What `ask` says; null for a model that went away meanwhile or cannot be described. */
async function looked(ask) {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof Refusal && error.status !== 401) return null;
    throw error;
  }
}

async function learn({ name, ready, versions }) {
  const key = JSON.stringify(versions);
  if (ready && details.get(name)?.key !== key) details.set(name, { key, document: await describe(name) });
}

const newest = (name) => details.get(name)?.document.newest;

/** All labels of a model in their order, or null. */
export function labelsOf(name) {
  const found = newest(name);
  if (found?.card) return found.card.labels;
  const outputs = found?.signatures.serving_default?.outputs ?? {};
  const scores = outputs.scores ?? Object.values(outputs).find(({ dtype, shape }) => dtype === "float32" && shape?.length === 2);
  const classes = scores?.shape?.at(-1);
  return classes > 0 && classes <= MOST_LABELS ? Array.from({ length: classes }, (_, index) => String(index)) : null;
}

/** The labels (stable, canary) of a model's version. */
export function namesOf(name, version) {
  const labels = summaries.find((summary) => summary.name === name)?.labels ?? {};
  return Object.keys(labels).filter((label) => labels[label] === version);
}

/** Who can answer about pictures: [{name, choices: [{target, text}]}]; a target is the path of a model or version. */
export function choices() {
  const groups = summaries.filter(({ name, ready }) => ready && takesPictures(newest(name)));
  return groups.map(({ name, versions, labels }) => {
    const live = versions.filter(({ state }) => state === "AVAILABLE").map(({ version }) => version);
    const named = Object.entries(labels).filter(([, version]) => live.includes(version));
    return {
      name,
      choices: [
        { target: name, text: name },
        ...named.map(([label, version]) => ({
          target: `${name}/labels/${encodeURIComponent(label)}`,
          text: `${name} · ${label} (version ${version})`,
        })),
        ...(live.length > 1 ? live : []).map((version) => ({
          target: `${name}/versions/${version}`,
          text: `${name} · version ${version}`,
        })),
      ],
    };
  });
}

/** The gateway's own rule: one input of uint8 or float32 [N,H,W] or [N,H,W,C]. */
function takesPictures(found) {
  const inputs = Object.values(found?.signatures.serving_default?.inputs ?? {});
  const sized = ({ shape }) => shape?.length === 3 || (shape?.length === 4 && [-1, 1, 3].includes(shape[3]));
  return inputs.filter((input) => sized(input) && ["uint8", "float32"].includes(input.dtype)).length === 1;
}

/** The list of what is running. */
export function show({ models }) {
  const cards = models.map(card);
  const none = element("li", "", "No model is served yet. Train and export one, and it appears here.");
  const text = cards.map(({ outerHTML }) => outerHTML).join("");
  if (text !== drawn) $("served").replaceChildren(...(cards.length ? cards : [none]));
  drawn = text;
}

function card(model) {
  const chips = model.versions.map((version) => chip(version, namesOf(model.name, version.version)));
  if (chips.length === 0) chips.push(element("span", "chip", "not loaded"));
  const item = element("li", "", element("h3", "", model.name), element("p", "chips", ...chips));
  if (newest(model.name)) item.append(element("p", "small", summary(newest(model.name))));
  for (const { version, reason } of model.quarantined) {
    item.append(element("p", "warning", `Version ${version} is not served: ${reason}`));
  }
  return item;
}

function chip({ version, state, error }, names) {
  const made = element("span", "chip", [`version ${version}`, ...names, state.toLowerCase()].join(" · "));
  made.dataset.state = state;
  made.title = error;
  return made;
}

function summary({ card, signatures }) {
  const accuracy = card?.metrics?.test_accuracy;
  const labels = card?.labels;
  const input = Object.values(signatures.serving_default?.inputs ?? {})[0];
  return [
    accuracy ? `${(accuracy * 100).toFixed(2)} % right on unseen data` : "",
    labels ? `answers ${labels.slice(0, 10).join(" ")}${labels.length > 10 ? " …" : ""}` : "",
    input?.shape ? `takes ${input.shape.slice(1).join(" × ")} ${input.dtype}` : "",
  ].filter(Boolean).join(" · ");
}
