// What is served, and which models, versions and labels can be chosen. watch.js reads it periodically, listing.js shows it.
import { Refusal, model as describe, models as list } from "./gateway.js";

const MAX_LABELS = 1000; // of a model without a card, whose labels are the indices of its scores
const EXAMPLES = ["tensorflow/serving/classify", "tensorflow/serving/regress"]; // methods that take tf.Example

const details = new Map(); // model -> {key, document, wrong}: GET /tf/models/<model> of the versions `key` names
let summaries = []; // of GET /tf/models

/** Read what is served. `wanted` names a model to look for while there is no full list. Throws Refusal. */
export async function look(wanted) {
  const state = await list();
  const known = state.models.some(({ name }) => name === wanted);
  const unlisted = !state.inventory.ready && state.serving.ready && !known && wanted;
  const extra = unlisted ? await describe(wanted).catch(missing) : null;
  summaries = extra ? [...state.models, extra] : state.models;
  await Promise.all(summaries.map(learn));
  return { ...state, models: summaries };
}

/** Ignore that a model is no longer served, or cannot be described. */
function missing(error) {
  if (error instanceof Refusal && error.status !== 401) return null;
  throw error;
}

async function learn({ name, ready, versions, labels, default_version: version }) {
  const key = JSON.stringify([versions, labels, version]);
  if (!ready || details.get(name)?.key === key) return;
  try {
    details.set(name, { key, document: await describe(name) });
  } catch (error) {
    missing(error);
    details.set(name, { key: "", wrong: error.message }); // it is read again at the next look
  }
}

/** Signatures and card of the version that answers by default; undefined while they are not known. */
export function profile(name) {
  return details.get(name)?.document?.default;
}

/** Why a model cannot be described, or "". */
export const trouble = (name) => details.get(name)?.wrong ?? "";

export const cardOf = (name) => profile(name)?.card ?? null;

/** All labels of a model in their order, or null. */
export function labelsOf(name) {
  const found = profile(name);
  if (found?.card?.labels?.length) return found.card.labels;
  const outputs = found?.signatures.serving_default?.outputs ?? {};
  const scores = outputs.scores ?? Object.values(outputs).find(({ dtype, shape }) => dtype === "float" && shape?.length === 2);
  const classes = scores?.shape?.at(-1);
  return classes > 1 && classes <= MAX_LABELS ? Array.from({ length: classes }, (_, index) => String(index)) : null;
}

/** The labels (stable, candidate) of a model's version. */
export function namesOf(name, version) {
  const labels = summaryOf(name)?.labels ?? {};
  return Object.keys(labels).filter((label) => labels[label] === version);
}

/** The version that has the label `candidate`, if it is served and another one answers by default; else null. */
export function candidateOf(name) {
  const summary = summaryOf(name);
  const version = summary?.labels.candidate;
  return live(summary).includes(version) && version !== defaultOf(summary) ? version : null;
}

/** Whether the model is tried with an image; else it is tried with a form. The gateway decides, by its own rule. */
export const takesImages = (name) => Boolean(profile(name)?.image_signatures?.includes("serving_default"));

/** The signatures to call with tensors {name: {inputs, outputs}}, the default first. */
export function signaturesOf(name) {
  const found = profile(name);
  const all = Object.entries(found?.signatures ?? {}).filter(([key]) => key !== "describe" || !found.card);
  const plain = all.filter(([, { method }]) => !EXAMPLES.includes(method));
  const order = ([key]) => (key === "serving_default" ? 0 : 1);
  return Object.fromEntries((plain.length ? plain : all).sort((a, b) => order(a) - order(b)));
}

/** What can be chosen: [{name, choices: [{target, text}]}]; a target is the path of a model, version or label. */
export function choices() {
  const groups = summaries.filter(({ name, ready }) => ready && (profile(name) || trouble(name)));
  return groups.map((summary) => {
    const { name, labels } = summary;
    const versions = live(summary);
    const named = Object.entries(labels).filter(([, version]) => versions.includes(version));
    const several = versions.length > 1;
    return {
      name,
      choices: [
        { target: name, text: several ? `${name} · default (version ${defaultOf(summary)})` : name },
        ...named.map(([label, version]) => ({
          target: `${name}/labels/${encodeURIComponent(label)}`,
          text: `${name} · ${label} (version ${version})`,
        })),
        ...(several ? versions : []).map((version) => ({
          target: `${name}/versions/${version}`,
          text: `${name} · version ${version}`,
        })),
      ],
    };
  });
}

const summaryOf = (name) => summaries.find((summary) => summary.name === name);

const live = (summary) => (summary?.versions ?? []).filter(({ state }) => state === "AVAILABLE").map(({ version }) => version);

const defaultOf = (summary) => summary.default_version ?? profile(summary.name)?.version ?? Math.max(...live(summary));
