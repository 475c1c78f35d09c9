"""The steps gather-mnist, gather-notmnist and gather-feedback: labelled images as one file each."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tensor_jupyter.data import Dataset, ImageSpec, LabelledImages, load
from tensor_jupyter.data.folders import read_feedback
from tensor_jupyter.pipeline import corrections
from tensor_jupyter.pipeline.execute import Job

_PARTS = ("train", "test")


def run_mnist(job: Job) -> None:
    data = load(_source(job.parameters.mnist_data_dir, "mnist"), job.settings)
    _store(job, data.subset(job.parameters.subset, job.parameters.seed))


def run_notmnist(job: Job) -> None:
    # An image's form is given for a folder; the named set has its own. Its glyphs are light on dark, as MNIST's are.
    data = load(_source(job.parameters.notmnist_data_dir, "notmnist"), job.settings, ImageSpec(28, 28, 1))
    _store(job, replace(data, polarity="light-on-dark"))


def run_feedback(job: Job) -> None:
    digits, names = read(job.root / "gather-mnist"), corrections.files(job.parameters, job.settings)
    empty = digits.train.take(slice(0))
    data = replace(digits, name=f"feedback:{job.parameters.model}", train=empty, test=empty, stand_in_for="")
    data = replace(data, unreadable=0, split="none", message="There are no corrections to train with.")
    if names:
        data = _known(read_feedback(job.settings.feedback, job.parameters.model, digits.image_spec), digits.labels)
    _store(job, data)
    corrections.write(job.folder, names)


def read_all(root: Path) -> Dataset:
    """Return the classifier's data: the digits, and the corrections if there are any."""
    digits, found = read(root / "gather-mnist"), read(root / "gather-feedback")
    return digits.plus(found) if len(found.train) or len(found.test) else digits


def read(folder: Path) -> Dataset:
    """Return the data set that a gather step stored, equal to the one it loaded."""
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    with np.load(folder / "data.npz", allow_pickle=False) as arrays:
        parts = {part: LabelledImages(arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in _PARTS}
    return Dataset(**{**about, **parts, "labels": tuple(about["labels"])})


def _known(data: Dataset, labels: tuple[str, ...]) -> Dataset:
    """The images whose label is one of `labels`; earlier versions of the model may have had others."""
    place = np.array([labels.index(label) if label in labels else -1 for label in data.labels], np.int64)

    def known(part: LabelledImages) -> LabelledImages:
        kept = part.take(np.flatnonzero(place[part.labels] >= 0))
        return LabelledImages(kept.images, place[kept.labels])

    train, test = known(data.train), known(data.test)
    left_out = len(data.train) + len(data.test) - len(train) - len(test)
    message = f"{data.message} {left_out} with other labels are left out." if left_out else data.message
    return replace(data, labels=labels, message=message, train=train, test=test)


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
    empty = LabelledImages(data.train.images[:0], data.train.labels[:0])  # asdict would copy the images
    about: dict[str, Any] = asdict(replace(data, train=empty, test=empty))
    job.write("about.json", {name: value for name, value in about.items() if name not in _PARTS})
