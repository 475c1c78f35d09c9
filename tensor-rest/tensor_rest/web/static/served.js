// What is served, and which models, versions and labels can be chosen. watch.js reads it periodically, listing.js shows it.
import { Refusal, metadata, model as describe, models as list } from "./gateway.js";

const MAX_LABELS = 1000; // of a model without a card, whose labels are the indices of its scores
const EXAMPLES = ["tensorflow/serving/classify", "tensorflow/serving/regress"]; // methods that take tf.Example

const details = new Map(); // model -> {key, documents: version -> its metadata, wrong: version -> why it has none}
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

/** Read the metadata of a model's versions, again when its versions or labels have changed. */
async function learn(summary) {
  const { name, ready, versions, labels, default_version: version } = summary;
  const key = JSON.stringify([versions, labels, version]);
  if (!ready || details.get(name)?.key === key) return;
  const [documents, wrong] = [new Map(), new Map()];
  const read = async (number) => {
    try {
      documents.set(number, await metadata(targetOf({ model: name, version: number })));
    } catch (error) {
      missing(error);
      wrong.set(number, error.message);
    }
  };
  await Promise.all(live(summary).map(read));
  details.set(name, { key: wrong.size ? "" : key, documents, wrong }); // "": they are read again at the next look
}

/** The model of a target such as mnist-net/labels/stable. */
export const modelOf = (target) => decodeURIComponent(target.split("/")[0]);

/** The target of the version that gave an answer {model, version}. */
export const targetOf = ({ model, version }) => `${encodeURIComponent(model)}/versions/${version}`;

function versionOf(target) {
  const [name, kind, which] = target.split("/").map(decodeURIComponent);
  const summary = summaryOf(name);
  if (kind === "versions") return Number(which);
  return kind === "labels" ? summary?.labels[which] : summary && defaultOf(summary);
}

/** Signatures and card of the version behind a target; undefined while they are not known. */
export const profile = (target) => details.get(modelOf(target))?.documents.get(versionOf(target));

/** Why the version behind a target cannot be described, or "". */
export const trouble = (target) => details.get(modelOf(target))?.wrong.get(versionOf(target)) ?? "";

export const cardOf = (target) => profile(target)?.card ?? null;

/** All labels of the version behind a target in their order, or null. */
export function labelsOf(target) {
  const found = profile(target);
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

/** Whether the target is tried with an image; else it is tried with a form. The gateway decides, by its own rule. */
export const takesImages = (target) => Boolean(profile(target)?.image_signatures?.includes("serving_default"));

/** The signatures to call with tensors {name: {inputs, outputs}}, the default first. */
export function signaturesOf(target) {
  const found = profile(target);
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

const defaultOf = (summary) => summary.default_version ?? summary.default?.version ?? Math.max(...live(summary));
