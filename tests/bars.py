"""A small data set for the pipeline: bars in place of digits, noise in place of letters; trained on in a minute."""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image


def write(folder: Path) -> None:
    """Write MNIST's four files below `digits`, and images by class below `letters`."""
    (folder / "digits").mkdir(parents=True)
    for part, count in (("train", 400), ("t10k", 120)):
        write_idx(folder / "digits" / f"{part}-images-idx3-ubyte", bars(count, count))
        write_idx(folder / "digits" / f"{part}-labels-idx1-ubyte", np.arange(count) % 2)
    random = np.random.default_rng(0)
    for place in ("train/A", "train/B", "test/A", "test/B"):
        (folder / "letters" / place).mkdir(parents=True)
        for number in range(20):
            content = png(random.integers(0, 256, (28, 28), np.uint8))
            (folder / "letters" / place / f"{number}.png").write_bytes(content)


def parameters(folder: str | Path) -> dict[str, str | float]:
    """The pipeline's parameters that fit it, where it lies in `folder`."""
    return {
        "mnist_data_dir": f"{folder}/digits",
        "notmnist_data_dir": f"{folder}/letters",
        "network": "dnn",
        "epochs": 3,
        "concept_epochs": 2,
        "live_calls": 60,
        "max_false_alarms": 0.2,
    }


def flags(folder: str | Path) -> list[str]:
    """The same as flags of the command."""
    named = parameters(folder).items()
    return [word for name, value in named for word in (f"--{name.replace('_', '-')}", str(value))]


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def bars(count: int, seed: int) -> np.ndarray:
    """Return uint8 [N, 28, 28]: vertical bars at even indices, horizontal ones at odd indices."""
    images = np.random.default_rng(seed).integers(0, 30, (count, 28, 28), np.uint8)
    images[::2, 4:24, 12:16] |= 224
    images[1::2, 12:16, 4:24] |= 224
    return images


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
