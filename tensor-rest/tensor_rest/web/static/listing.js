// The list of what is running, and of what is not served and why.
import { $, element } from "./dom.js";
import { namesOf, profile, trouble } from "./served.js";
import { described } from "./tensors.js";

let drawn = null; // the list as text: it is replaced only if it differs

export function show({ models, ignored }) {
  const items = models.map(card);
  if (items.length === 0) items.push(element("li", "", "No model is served yet. Train and export one, and it appears here."));
  if (ignored?.length) items.push(leftOut(ignored));
  const text = items.map(({ outerHTML }) => outerHTML).join("");
  if (text !== drawn) $("served").replaceChildren(...items);
  drawn = text;
}

function card(model) {
  const chips = model.versions.map((version) => chip(version, namesOf(model.name, version.version)));
  if (chips.length === 0) chips.push(element("span", "chip", "not loaded"));
  const item = element("li", "", element("h3", "", model.name), element("p", "chips", ...chips));
  if (profile(model.name)) item.append(element("p", "small", summary(profile(model.name))));
  if (trouble(model.name)) item.append(element("p", "warning", trouble(model.name)));
  const pages = runPages(model.name);
  if (pages) item.append(element("p", "small", pages));
  for (const { version, reason } of model.quarantined ?? []) {
    item.append(element("p", "warning", `Version ${version} is not served: ${reason}`));
  }
  return item;
}

/** A link to the reports of a model's pipeline runs in JupyterLab; null for a model without a run, or without JupyterLab. */
function runPages(name) {
  const { jupyter } = $("served").dataset;
  if (!jupyter || !profile(name)?.card?.run) return null;
  const link = element("a", "", "Pages of its pipeline runs");
  link.href = new URL(`lab/tree/reports/${encodeURIComponent(name)}`, jupyter);
  return link;
}

/** The entry for folders that are nearly models. */
function leftOut(ignored) {
  const notes = ignored.map(({ path, reason, fix }) => {
    return element("p", "warning", `${path}: ${reason}`, ...(fix ? [" To fix it: ", element("code", "", fix)] : []));
  });
  const item = element("li", "ignored", element("h3", "", "Not served"), ...notes);
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
  const inputs = Object.entries((signatures.serving_default ?? Object.values(signatures)[0])?.inputs ?? {});
  return [
    accuracy ? `${(accuracy * 100).toFixed(2)} % right on unseen data` : "",
    labels?.length ? `answers ${labels.slice(0, 10).join(" ")}${labels.length > 10 ? " …" : ""}` : "",
    inputs.length ? `takes ${inputs.map(([alias, info]) => `${alias} ${described(info)}`).join(", ")}` : "",
  ].filter(Boolean).join(" · ");
}
