// Every call of the page to the gateway's REST API.

import { store } from "./dom.js";

const KEY = "tensor-lab.key";
const MAX_LABELS = 100; // of each image: only a complete list shows whether the scores are probabilities
const TIMEOUT_MS = 20_000; // milliseconds, for requests without an image

/** An error response of the gateway, with its message. `status` 0: it did not answer at all. */
export class Refusal extends Error {
  constructor(status, message, request = "") {
    super(message);
    this.status = status;
    this.request = request;
  }

  /** Whether the same request may succeed in a moment. */
  get passes() {
    return [0, 429, 502, 503, 504].includes(this.status);
  }
}

let key = store.get(KEY);

export const hasKey = () => Boolean(key);

export function useKey(value) {
  key = value;
  store.set(KEY, value);
}

/** What is served, and whether the model server answers. */
export const models = () => send("/tf/models", { signal: AbortSignal.timeout(TIMEOUT_MS) });

/** One model, with signatures and card of its default version. */
export const model = (name) => send(`/tf/models/${encodeURIComponent(name)}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });

/** Signatures and card of the version behind `target` (a path such as mnist-net/versions/2). */
export const metadata = (target) => send(`/tf/models/${target}/metadata`, { signal: AbortSignal.timeout(TIMEOUT_MS) });

/**
 * Classify images {name, blob} with the model behind `target` (a path such as mnist-net/labels/stable): returns a
 * list in their order of {model, version, labels, explain, ...} or {error}, each with the times of the request.
 */
export async function classify(target, images, signal) {
  const started = performance.now();
  const path = `/tf/models/${target}/classify?limit=${MAX_LABELS}&explain=1`;
  const document = await send(path, { method: "POST", body: form(images), signal });
  const { model, version, results, queue_ms: queue, model_ms: computing } = document;
  if (results.length !== images.length) {
    throw new Refusal(415, "This is a zip. The page takes images; classify in the REST API takes zips as well.");
  }
  const common = { target, total: performance.now() - started, queue, computing };
  return results.map((result) => ({ model, version, ...result, ...common, complete: result.labels?.length < MAX_LABELS }));
}

/** Run a signature of the model behind `target` on `inputs` {alias: value}: returns {model, version, outputs, ...}. */
export async function predict(target, signature, inputs, signal) {
  const started = performance.now();
  const body = JSON.stringify({ signature_name: signature, inputs });
  const options = { method: "POST", body, signal, type: "application/json" };
  const answer = await send(`/tf/models/${target}/predict`, options);
  return { ...answer, target, total: performance.now() - started };
}

/** The sample digits: [{name, label, url}]; none where they are not installed. */
export async function samples() {
  const { samples: found } = await send("/samples/", { signal: AbortSignal.timeout(TIMEOUT_MS) });
  return found.map((sample) => ({ ...sample, url: `/samples/${encodeURIComponent(sample.name)}` }));
}

/** Send feedback: the right label of an image. The answer's `stored` is false if it was already stored. */
export function feedback(model, image, label) {
  const body = form([image]);
  body.append("label", label);
  return send(`/tf/models/${encodeURIComponent(model)}/feedback`, { method: "PUT", body });
}

/** How many images are kept of a model: {version, samples, since_version}; since_version: since its default version was made. */
export const feedbackCount = (model) =>
  send(`/tf/models/${encodeURIComponent(model)}/feedback`, { signal: AbortSignal.timeout(TIMEOUT_MS) });

function form(images) {
  const made = new FormData();
  for (const { name, blob } of images) made.append("image", blob, name || "drawing.png");
  return made;
}

/** No document for a body that is not JSON; a body that stalls or is cut off is thrown. */
function notJson(error) {
  if (error instanceof SyntaxError) return null;
  throw error;
}

async function send(path, { type, ...options } = {}) {
  const headers = { ...(key ? { "X-API-Key": key } : {}), ...(type ? { "Content-Type": type } : {}) };
  let response, document;
  try {
    response = await fetch(path, { ...options, headers });
    document = await response.json().catch(notJson);
    options.signal?.throwIfAborted();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The gateway does not answer.");
  }
  if (response.ok && document) return document;
  throw new Refusal(response.status, document?.message ?? "The gateway's answer is not JSON.", document?.request_id);
}
