// The paper: strokes of mouse, pen or finger, or a picture in their place. It knows nothing of models.

const INK_WIDTH = 0.08; // of the paper's side: about MNIST's stroke once the digit is scaled down
const THUMBNAIL = 56; // pixels

export class Paper {
  /** `canvas` is square. `changed` is called after each finished stroke, undo, clear or new picture. */
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.strokes = [];
    this.file = null; // what is sent in place of the drawing
    this.bitmap = null; // the same, decoded; null if the browser cannot
    this.pointer = null;
    canvas.addEventListener("pointerdown", (event) => this.#start(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#end(event));
    canvas.addEventListener("pointercancel", (event) => this.#end(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#redraw());
  }

  get empty() {
    return this.strokes.length === 0 && this.file === null;
  }

  clear() {
    this.strokes = [];
    this.#forgetPicture();
    this.#redraw();
    this.changed();
  }

  undo() {
    if (this.file) this.#forgetPicture();
    else this.strokes.pop();
    this.#redraw();
    this.changed();
  }

  /** Show a picture file and send it as it is; a file the browser cannot show is sent all the same. */
  async show(file) {
    this.strokes = [];
    this.file = file;
    this.bitmap = await createImageBitmap(file).catch(() => null);
    this.#redraw();
    this.changed();
  }

  /** The picture to send: the file, or the drawing as black on white PNG. */
  async blob() {
    if (this.file) return this.file;
    const copy = this.#copy(this.canvas.width);
    return new Promise((resolve) => copy.toBlob(resolve, "image/png"));
  }

  /** A small canvas with what is on the paper, black on white. */
  thumbnail() {
    return this.#copy(THUMBNAIL);
  }

  #copy(side) {
    const copy = document.createElement("canvas");
    copy.width = copy.height = side;
    const context = copy.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, side, side);
    this.#paint(context, side, "black");
    return copy;
  }

  #forgetPicture() {
    this.file = null;
    this.bitmap = null;
  }

  #start(event) {
    if (this.pointer !== null || event.button > 0) return;
    event.preventDefault();
    if (this.file) this.#forgetPicture();
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.strokes.push([this.#point(event)]);
    this.#redraw();
    this.canvas.dispatchEvent(new CustomEvent("drawing"));
  }

  #move(event) {
    if (event.pointerId !== this.pointer) return;
    const steps = event.getCoalescedEvents?.() ?? [];
    this.strokes.at(-1).push(...(steps.length ? steps : [event]).map((step) => this.#point(step)));
    this.#redraw();
  }

  #end(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this.changed();
  }

  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  #redraw() {
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.#paint(context, this.canvas.width, getComputedStyle(this.canvas).color);
  }

  #paint(context, side, ink) {
    if (this.bitmap) paintPicture(context, side, this.bitmap);
    context.strokeStyle = ink;
    context.lineWidth = side * INK_WIDTH;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) paintStroke(context, side, stroke);
  }
}

/** As large as it fits, in the middle; small pictures keep their pixels. */
function paintPicture(context, side, bitmap) {
  const scale = Math.min(side / bitmap.width, side / bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  context.imageSmoothingEnabled = scale < 1;
  context.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
}

/** Curves through the middles of the steps; a single point is a dot. */
function paintStroke(context, side, points) {
  const at = (index) => points[index].map((value) => value * side);
  context.beginPath();
  context.moveTo(...at(0));
  for (let i = 1; i < points.length - 1; i++) {
    const [x, y] = at(i);
    const [nextX, nextY] = at(i + 1);
    context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
  }
  context.lineTo(...at(points.length - 1));
  context.stroke();
}
