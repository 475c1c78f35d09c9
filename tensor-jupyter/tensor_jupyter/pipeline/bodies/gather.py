"""The steps gather-mnist and gather-notmnist: labelled images as one file, whichever source they come from."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tensor_jupyter.data import Dataset, Picture, Pictures, load
from tensor_jupyter.pipeline.execute import Job

_PARTS = ("train", "test")


def run_mnist(job: Job) -> None:
    data = load(_source(job.parameters.mnist_data_dir, "mnist"), job.settings)
    _store(job, data.subset(job.parameters.subset, job.parameters.seed))


def run_notmnist(job: Job) -> None:
    # A picture's form is given for a folder; the named set has its own. Its glyphs are light on dark, as MNIST's are.
    data = load(_source(job.parameters.notmnist_data_dir, "notmnist"), job.settings, Picture(28, 28, 1))
    _store(job, replace(data, polarity="light-on-dark"))


def read(folder: Path) -> Dataset:
    """Return the data set that a gather step stored; it equals the one that was loaded."""
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    with np.load(folder / "data.npz", allow_pickle=False) as arrays:
        parts = {part: Pictures(arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in _PARTS}
    return Dataset(**{**about, **parts, "labels": tuple(about["labels"])})


def _source(folder: str, name: str) -> Path | str:
    return Path(folder) if folder else name


def _store(job: Job, data: Dataset) -> None:
    job.say(data.message)
    if data.stand_in_for:
        job.say(f"STAND-IN: {data.name} takes the place of {data.stand_in_for}.")
    if data.unreadable:
        job.say(f"{data.unreadable} unreadable files are left out.")
    arrays = {"x_train": data.train.images, "y_train": data.train.labels}
    arrays |= {"x_test": data.test.images, "y_test": data.test.labels}
    np.savez(job.folder / "data.npz", **arrays)  # type: ignore[arg-type]
    empty = Pictures(data.train.images[:0], data.train.labels[:0])  # asdict would copy the images
    about: dict[str, Any] = asdict(replace(data, train=empty, test=empty))
    job.write("about.json", {name: value for name, value in about.items() if name not in _PARTS})
