// Drawing without a pointer: with the paper focused, arrow keys move a pen, Space sets it down and lifts it.

const STEP = 1 / 28; // of the paper's side
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** `mark` is shown at the pen's position while the keyboard is used. */
export function penOn(paper, mark) {
  let at = [0.5, 0.25];
  let down = false;

  function show() {
    mark.style.left = `${at[0] * 100}%`;
    mark.style.top = `${at[1] * 100}%`;
    mark.dataset.down = down;
  }

  function lift() {
    if (!down) return;
    down = false;
    show();
    paper.finish();
  }

  paper.canvas.addEventListener("keydown", (event) => {
    const way = WAYS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || (!way && event.key !== " ")) return;
    event.preventDefault();
    if (!way) {
      if (down) return lift();
      down = true;
      paper.begin(at);
    } else {
      at = at.map((value, axis) => Math.min(0.95, Math.max(0.05, value + way[axis] * STEP)));
      if (down) paper.extend([at]);
    }
    mark.hidden = false;
    show();
  });
  paper.canvas.addEventListener("focus", () => (mark.hidden = !paper.canvas.matches(":focus-visible")));
  for (const name of ["blur", "pointerdown"]) {
    paper.canvas.addEventListener(name, () => {
      mark.hidden = true;
      lift();
    });
  }
  paper.addEventListener("change", () => {
    down = false; // undo and clear remove the stroke
    show();
  });
  show();
}
