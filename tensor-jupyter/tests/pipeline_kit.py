"""What the tests of the pipeline share: a set of bars small enough to train on in seconds, and its steps in process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from training_kit import bars

from tensor_jupyter.pipeline.execute import execute
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.pipeline.steps import named
from tensor_jupyter.settings import Settings

MEASURED = (
    "gather-mnist",
    "gather-notmnist",
    "gather-feedback",
    "train-classifier",
    "train-concept",
    "export-classifier",
    "export-concept",
    "evaluate",
)
"""The steps that need no lab."""


def write_sources(root: Path, write_idx: Callable[[Path, np.ndarray], Path], seed: int = 11) -> dict[str, str]:
    """Bars as MNIST's files and noise as letters; returns the parameters that name the folders."""
    train, test = noisy(bars(count=400).train.images, seed), noisy(bars(count=120).train.images, seed + 1)
    digits, letters = root / "digits", root / "letters"
    write_digits(digits, write_idx, train, np.arange(400) % 2, test, np.arange(120) % 2)
    random = np.random.default_rng(seed)
    for part, count in (("train", 4), ("test", 20)):
        for label in "AB":
            (letters / part / label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                image = Image.fromarray(random.integers(0, 256, (28, 28), np.uint8))
                image.save(letters / part / label / f"{number}.png")
    return {"mnist_data_dir": str(digits), "notmnist_data_dir": str(letters)}


def write_digits(
    folder: Path,
    write_idx: Callable[[Path, np.ndarray], Path],
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
) -> None:
    """MNIST's four files."""
    write_idx(folder / "train-images-idx3-ubyte", train[..., 0])
    write_idx(folder / "train-labels-idx1-ubyte", train_labels)
    write_idx(folder / "t10k-images-idx3-ubyte", test[..., 0])
    write_idx(folder / "t10k-labels-idx1-ubyte", test_labels)


def noisy(images: np.ndarray, seed: int) -> np.ndarray:
    """No two of them are equal."""
    return images | np.random.default_rng(seed).integers(0, 30, images.shape, np.uint8)


def small(sources: dict[str, str], **changes: object) -> Parameters:
    """Parameters that train in seconds. A threshold of 50 held-out images is a rough one: more alarms are let pass."""
    quick = {"model": "bars", "network": "dnn", "epochs": 2, "concept_epochs": 2, "max_false_alarms": 0.2}
    return Parameters(**{**quick, **sources, **changes})  # type: ignore[arg-type]


def run_steps(parameters: Parameters, settings: Settings, steps: tuple[str, ...] = MEASURED) -> dict[str, bool]:
    """Whether each of the steps ran, one after the other in this process."""
    return {name: execute(named(name), parameters, settings, lambda _: None) for name in steps}
