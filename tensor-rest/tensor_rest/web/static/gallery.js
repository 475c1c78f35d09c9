// The sample digits: loaded when the gallery is first opened; a click puts one on the paper.
import { $, button, element, say } from "./dom.js";
import { Refusal, samples } from "./gateway.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -10, ArrowDown: 10 };

/** `picked` is called with the file of a sample. */
export function galleryOn(picked) {
  const list = $("samples");
  $("gallery").addEventListener("toggle", () => {
    if ($("gallery").open && list.children.length === 0) fill(list, picked);
  });
  // One tab stop, with arrow keys inside: a hundred tab stops would be tedious.
  list.addEventListener("keydown", (event) => {
    const all = [...list.querySelectorAll("button")];
    const next = all[all.indexOf(event.target) + STEPS[event.key]];
    if (!(event.key in STEPS)) return;
    event.preventDefault();
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

async function fill(list, picked) {
  try {
    const found = await samples();
    list.replaceChildren(...found.map((sample, index) => item(sample, index, picked)));
    say($("gallery-note"), found.length ? "" : "The sample digits are not installed here.");
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    say($("gallery-note"), error.message);
  }
}

function item({ name, label, url }, index, picked) {
  const image = element("img");
  Object.assign(image, { src: url, alt: "", width: 28, height: 28, loading: "lazy" });
  const made = button("sample", () => fetched(name, url, picked), image);
  made.setAttribute("aria-label", `Sample of a ${label}, ${name}`);
  made.title = name;
  made.tabIndex = index === 0 ? 0 : -1;
  return element("li", "", made);
}

async function fetched(name, url, picked) {
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) return say($("gallery-note"), `${name} cannot be read now.`);
  say($("gallery-note"), "");
  const blob = await answer.blob();
  picked(new File([blob], name, { type: blob.type }));
}
