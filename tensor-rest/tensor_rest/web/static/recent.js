// Recent tries: kept for this tab, over reloads, so that they can be opened again.
import { button, element, store } from "./dom.js";
import { blackOnWhite } from "./drawing.js";
import { fromDataUrl, smaller, toDataUrl } from "./image_files.js";
import { headline, read } from "./scores.js";
import { cardOf, targetOf } from "./served.js";

const PLACE = "tensor-lab.tries";
const MAX_TRIES = 10;
const SIDE = 48; // pixels of a thumbnail
const LIGHT_BYTES = 64 << 10; // a heavier image is kept as a small copy
const SMALL_SIDE = 280;

/** A try is {serial, strokes, image: {name, blob} or null, answer, keptLabel}; `open` is called with a clicked one. */
export class Recent {
  #tries = [];

  constructor(list, box, open) {
    this.list = list;
    this.box = box;
    this.open = open;
  }

  /** Put a try, which `paper` shows, first in the list; it replaces one with the same serial. */
  async keep(tried, paper) {
    tried.thumbnail = paper.copy(SIDE);
    const bitmap = paper.image?.bitmap;
    this.#tries = [tried, ...this.#tries.filter((other) => other.serial !== tried.serial)].slice(0, MAX_TRIES);
    this.#show();
    if (tried.image) tried.data = await light(tried.image.blob, bitmap);
    this.save();
  }

  /** Store all tries in this tab's session. */
  save() {
    const notes = this.#tries.map(({ serial, strokes, image, answer, keptLabel, data }) => {
      return { serial, strokes, name: image?.name, data, answer, keptLabel };
    });
    store.set(PLACE, JSON.stringify(notes.filter(({ name, data }) => name === undefined || data)));
  }

  /** Show the tries from before a reload; returns their highest serial. */
  async restore() {
    const notes = JSON.parse(store.get(PLACE) ?? "[]");
    const revivals = await Promise.all(notes.map(revived));
    this.#tries = [...this.#tries, ...revivals].slice(0, MAX_TRIES);
    this.#show();
    return Math.max(0, ...notes.map(({ serial }) => serial));
  }

  #show() {
    this.box.hidden = this.#tries.length === 0;
    this.list.replaceChildren(...this.#tries.map((tried) => element("li", "", this.#button(tried))));
  }

  #button(tried) {
    const label = shortly(tried.answer);
    const made = button("thumb", () => this.open(tried), tried.thumbnail, element("span", "", label));
    made.setAttribute("aria-label", `Show again the try answered ${label}`);
    return made;
  }
}

/** The headline of an answer, short enough for a thumbnail. */
function shortly(answer) {
  const reading = read(answer, cardOf(targetOf(answer)), answer.complete);
  return reading.sure ? headline(reading) : "?";
}

async function light(blob, bitmap) {
  if (blob.size <= LIGHT_BYTES) return toDataUrl(blob);
  return bitmap ? toDataUrl(await smaller(bitmap, SMALL_SIDE, "image/png")) : undefined;
}

async function revived({ serial, strokes, name, data, answer, keptLabel }) {
  const blob = data && fromDataUrl(data);
  const bitmap = blob && (await createImageBitmap(blob).catch(() => null));
  const small = blackOnWhite(SIDE, strokes, bitmap);
  return { serial, strokes, image: blob ? { name, blob } : null, answer, keptLabel, data, thumbnail: small };
}
