"""Count how many of the 100 sample digits the shipped model reads when they are drawn and photographed as users do it.

Prints one line for each variant: the digits read, the mean of the best probability, and milliseconds of preprocessing
for one image. Run it in the lab's environment; with the `tensor-rest` folder of another checkout in PYTHONPATH it
measures that one's preprocessing:

    .lab/venv/bin/python benchmarks/photographs.py [--mnist FOLDER] [--model FOLDER]
"""

import argparse
import gzip
import io
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tensor_rest.images.decode import ImageInput, prepare

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "tensor-rest/data/mnist"
MODEL = ROOT / "tensor-serving-gpu/serving/mnist-net/1"
MNIST = ImageInput(28, 28, 1, "light-on-dark", "mnist")

Grey = np.ndarray


def page(ink: Grey, side: int, size: int, paper: float, dark: float) -> Grey:
    """A digit of `size` pixels with strokes of level `dark` in the middle of a page of `side` pixels."""
    grey = np.full((side, side), float(paper))
    start = (side - size) // 2
    drawn = np.asarray(Image.fromarray(ink).resize((size, size), Image.Resampling.BICUBIC)) / 255
    grey[start : start + size, start : start + size] -= drawn * (paper - dark)
    return grey


def png(levels: Grey, mode: str | None = None) -> bytes:
    """Levels as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(levels.clip(0, 255).astype(np.uint8), mode).save(file, "PNG")
    return file.getvalue()


def jpeg(levels: Grey, quality: int = 85) -> bytes:
    """Levels as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def speck(ink: Grey, side: int) -> bytes:
    grey = page(ink, 400, 280, 255, 0)
    grey[5 : 5 + side, 5 : 5 + side] = 0
    return png(grey)


def pencil(ink: Grey, noise: float) -> bytes:
    random = np.random.default_rng(int(ink.sum()))
    return jpeg(page(ink, 400, 160, 200, 130) + random.normal(0, noise, (400, 400)))


def shadow(ink: Grey, soft: int = 0) -> bytes:
    grey = page(ink, 400, 160, 200, 60)
    factor = np.interp(np.arange(400), (120 - soft, 120 + soft + 1), (0.55, 1)) if soft else np.ones(400)
    if not soft:
        factor[:120] = 0.55
    return png(grey * factor)


def falloff(ink: Grey, by: float) -> bytes:
    return png(page(ink, 400, 160, 170, 60) * (1 + by * np.linspace(-0.5, 0.5, 400)))


def frame(ink: Grey, width: int) -> bytes:
    grey = page(ink, 280, 280, 255, 0)
    grey[:width] = grey[-width:] = grey[:, :width] = grey[:, -width:] = 0
    return png(grey)


def strokes(ink: Grey, side: int, level: int, alpha: int) -> bytes:
    """Half-transparent strokes of one level on a transparent ground."""
    drawn = np.asarray(Image.fromarray(ink).resize((side, side), Image.Resampling.BICUBIC)).astype(float)
    layers = np.zeros((side, side, 4))
    layers[..., :3], layers[..., 3] = level, drawn / 255 * alpha
    return png(layers)


def blue(ink: Grey) -> bytes:
    """Blue ink on paper that is warm and bright at the top left, dim at the bottom right."""
    random = np.random.default_rng(int(ink.sum()))
    cover = 1 - page(ink, 480, 200, 1, 0)
    rows, columns = np.mgrid[0:480, 0:480] / 480
    light = (1.1 - 0.45 * rows - 0.25 * columns)[..., None]
    paper, colour = np.array([235, 225, 205]), np.array([50, 70, 160])
    levels = (paper + (colour - paper) * cover[..., None]) * light
    return jpeg(levels + random.normal(0, 4, levels.shape))


VARIANTS: dict[str, Callable[[Grey], bytes]] = {
    "the samples themselves, 28 px": lambda ink: png(ink),
    "clean, drawn at 280 of 400 px": lambda ink: png(page(ink, 400, 280, 255, 0)),
    "clean, light on dark": lambda ink: png(255 - page(ink, 400, 280, 255, 0)),
    "one dark pixel in the corner": lambda ink: speck(ink, 1),
    "a speck of 6 px": lambda ink: speck(ink, 6),
    "soft pencil, camera noise 8": lambda ink: pencil(ink, 8),
    "soft pencil, camera noise 16": lambda ink: pencil(ink, 16),
    "shadow at one side, sharp": lambda ink: shadow(ink),
    "shadow at one side, soft": lambda ink: shadow(ink, 20),
    "light falling off by 0.8": lambda ink: falloff(ink, 0.8),
    "light falling off by 1.2": lambda ink: falloff(ink, 1.2),
    "black scanner frame, 8 px": lambda ink: frame(ink, 8),
    "black scanner frame, 20 px": lambda ink: frame(ink, 20),
    "grey paper, 280 px": lambda ink: png(page(ink, 280, 280, 200, 150)),
    "grey paper, 28 px": lambda ink: png(page(ink, 28, 28, 200, 150)),
    "dark grey paper, 28 px": lambda ink: png(page(ink, 28, 28, 110, 40)),
    "off-white paper, 28 px": lambda ink: png(page(ink, 28, 28, 240, 30)),
    "white strokes, alpha 100, 280 px": lambda ink: strokes(ink, 280, 255, 100),
    "white strokes, alpha 100, 28 px": lambda ink: strokes(ink, 28, 255, 100),
    "black strokes, alpha 100, 280 px": lambda ink: strokes(ink, 280, 0, 100),
    "blue ink, uneven light, photograph": blue,
    "small on a large sheet, 100 of 1,000 px": lambda ink: png(page(ink, 1000, 100, 230, 40)),
    "cut tightly around the digit": lambda ink: png(tight(ink, 1)),
    "cut tightly, light on dark": lambda ink: png(255 - tight(ink, 1)),
}


def tight(ink: Grey, margin: int) -> Grey:
    grey = page(ink, 280, 280, 255, 0)
    rows, columns = np.flatnonzero((grey < 128).any(axis=1)), np.flatnonzero((grey < 128).any(axis=0))
    return grey[
        max(0, rows[0] - margin) : rows[-1] + 1 + margin, max(0, columns[0] - margin) : columns[-1] + 1 + margin
    ]


def samples() -> Iterator[tuple[int, Grey]]:
    """The digit and its levels, light on dark, of each sample."""
    for path in sorted(SAMPLES.glob("*.jpg")):
        yield int(path.name.split("_")[1]), np.asarray(Image.open(path).convert("L"))


def mnist(folder: Path) -> Iterator[tuple[int, Grey]]:
    """MNIST's 10,000 test images."""
    with (
        gzip.open(folder / "t10k-images-idx3-ubyte.gz") as images,
        gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as labels,
    ):
        images.read(16)
        labels.read(8)
        while label := labels.read(1):
            yield label[0], np.frombuffer(images.read(784), np.uint8).reshape(28, 28)


def measure(name: str, digits: np.ndarray, files: list[bytes], model: Callable) -> tuple[int, float]:
    start = time.perf_counter()
    pixels = []
    for data in files:
        try:
            pixels.append(prepare(data, MNIST, 50_000_000))
        except Exception:  # noqa: BLE001 - counts as not read
            pixels.append(np.zeros((28, 28, 1), np.uint8))
    milliseconds = (time.perf_counter() - start) / len(files) * 1000
    scores = np.concatenate([model(part) for part in np.array_split(np.stack(pixels), max(1, len(pixels) // 500))])
    right = int((scores.argmax(axis=1) == digits).sum())
    line = f"{name:42} {right:6} of {len(files):6}   {scores.max(axis=1).mean():.3f}   {milliseconds:7.3f} ms\n"
    sys.stdout.write(line)
    sys.stdout.flush()
    return right, milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="folder with MNIST's test files, to measure those too")
    parser.add_argument("--model", type=Path, default=MODEL, help="a version of a model that reads digits")
    arguments = parser.parse_args()
    import tensorflow as tf

    loaded = tf.saved_model.load(str(arguments.model))
    serve = loaded.signatures["serving_default"]
    digits, inks = map(list, zip(*samples(), strict=True))

    def model(images: np.ndarray) -> np.ndarray:
        return serve(images=tf.constant(images))["scores"].numpy()

    for name, make in VARIANTS.items():
        measure(name, np.array(digits), [make(ink) for ink in inks], model)
    if arguments.mnist:
        digits, inks = map(list, zip(*mnist(arguments.mnist), strict=True))
        measure("MNIST, as it is", np.array(digits), [png(ink) for ink in inks], model)
        measure("MNIST, inverted", np.array(digits), [png(255 - ink) for ink in inks], model)


if __name__ == "__main__":
    main()
