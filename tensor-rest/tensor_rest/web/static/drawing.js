// The paper: strokes of mouse, pen, finger or keys, or an image instead. It does not know models.

const INK_WIDTH = 0.08; // of the paper's side: about MNIST's stroke once the digit is scaled down
const SENT_SIDE = 280; // pixels of a drawing as it is sent
const FAINTEST = 12; // minimum difference of levels between paper and ink

/** Sends the event "ink" while a stroke grows, and "change" after each stroke, undo, clear or new image. */
export class Paper extends EventTarget {
  strokes = []; // lists of [x, y], as fractions of the paper's side
  image = null; // in place of strokes: {name, blob, bitmap}; bitmap is null if the browser cannot show it
  serial = 0; // a new number for each drawing or image
  #pointer = null;
  #last = 0; // the highest number given

  constructor(canvas) {
    super();
    this.canvas = canvas;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => this.#up(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#redraw());
  }

  get empty() {
    return this.strokes.length === 0 && this.image === null;
  }

  /** Whether the image is uniform, so that nothing is drawn on it. False for one that the browser cannot show. */
  get blank() {
    if (!this.image?.bitmap) return false;
    const { width, height } = this.image.bitmap;
    const scale = Math.min(1, SENT_SIDE / Math.max(width, height));
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
    const context = canvas.getContext("2d");
    context.fillStyle = "white"; // under transparent pixels
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(this.image.bitmap, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    let [low, high] = [255, 0];
    for (let at = 0; at < data.length; at++) {
      if (at % 4 === 3) continue;
      low = Math.min(low, data[at]);
      high = Math.max(high, data[at]);
    }
    return high - low < FAINTEST;
  }

  clear() {
    this.#take([], null);
    this.#changed();
  }

  undo() {
    if (this.image) this.image = null;
    else this.strokes.pop();
    this.#changed();
  }

  /** Show a new image instead of the current drawing or image. */
  show(image) {
    this.#take([], image);
    this.serial = this.number();
    this.#changed();
  }

  /** Show an earlier drawing or image again, with its `serial`; no event is sent. */
  putBack({ serial, strokes, image }) {
    this.#take(strokes.map((stroke) => [...stroke]), image);
    this.serial = serial;
    this.#redraw();
  }

  /** Make `number` return only numbers after this one. */
  startAfter(number) {
    this.#last = Math.max(this.#last, number);
  }

  /** A number no drawing or image has had. */
  number() {
    return ++this.#last;
  }

  begin(point) {
    if (this.empty || this.image) this.serial = this.number();
    this.image = null;
    this.strokes.push([point]);
    this.#grown();
  }

  extend(points) {
    this.strokes.at(-1)?.push(...points);
    this.#grown();
  }

  finish() {
    this.#changed();
  }

  /** What is on the paper as a file: the image, or the drawing as black on white PNG. */
  async blob() {
    if (this.image) return this.image.blob;
    return new Promise((resolve) => this.copy(SENT_SIDE).toBlob(resolve, "image/png"));
  }

  /** A new canvas of `side` pixels with what is on the paper, black on white. */
  copy(side) {
    return blackOnWhite(side, this.strokes, this.image?.bitmap);
  }

  #take(strokes, image) {
    this.strokes = strokes;
    this.image = image;
    this.#pointer = null;
  }

  #down(event) {
    if (this.#pointer !== null || event.button > 0) return;
    this.#pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.begin(this.#point(event));
  }

  #move(event) {
    if (event.pointerId !== this.#pointer) return;
    const steps = event.getCoalescedEvents?.() ?? [];
    this.extend((steps.length ? steps : [event]).map((step) => this.#point(step)));
  }

  #up(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.finish();
  }

  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    const part = (value) => Math.round(value * 1000) / 1000;
    return [part((event.clientX - box.left) / box.width), part((event.clientY - box.top) / box.height)];
  }

  #grown() {
    this.#redraw();
    this.dispatchEvent(new Event("ink"));
  }

  #changed() {
    this.#redraw();
    this.dispatchEvent(new Event("change"));
  }

  #redraw() {
    const { width } = this.canvas;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, width, width);
    paint(context, width, getComputedStyle(this.canvas).color, this.strokes, this.image?.bitmap);
  }
}

/** A new canvas of `side` pixels with strokes, or a bitmap, or nothing. */
export function blackOnWhite(side, strokes, bitmap) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, side, side);
  paint(context, side, "black", strokes, bitmap);
  return canvas;
}

function paint(context, side, ink, strokes, bitmap) {
  if (bitmap) paintImage(context, side, bitmap);
  context.strokeStyle = ink;
  context.lineWidth = side * INK_WIDTH;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) paintStroke(context, side, stroke);
}

/** Paint a bitmap as large as it fits, in the middle; pixels of an enlarged one stay sharp. */
function paintImage(context, side, bitmap) {
  const scale = Math.min(side / bitmap.width, side / bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  context.imageSmoothingEnabled = scale < 1;
  context.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
}

/** Curves through the middles of the steps; a single point is a dot. */
function paintStroke(context, side, points) {
  const someLength = 0.01; // pixels: browsers draw nothing for a line of length 0
  const at = (index) => points[index].map((value) => value * side);
  context.beginPath();
  context.moveTo(...at(0));
  for (let i = 1; i < points.length - 1; i++) {
    const [x, y] = at(i);
    const [nextX, nextY] = at(i + 1);
    context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
  }
  const [x, y] = at(points.length - 1);
  context.lineTo(x + someLength, y);
  context.stroke();
}
