"""The release gate: the checks of a version before its promotion, their thresholds, and the report.

report = check_version(folder, current, data)     # current: the version it would replace, or None
report.passed, report.failed              # ["accuracy is 91.20% on 2000 images of mnist; at least 98.60% ..."]
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tensor_jupyter.data import Dataset
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.card import now
from tensor_jupyter.publishing.graph import DEFAULT, Graph, Signature
from tensor_jupyter.publishing.made_up import as_input, card_range
from tensor_jupyter.publishing.replay import compare
from tensor_jupyter.publishing.samples import golden_samples

_BATCH = 256
_WARM, _RUNS = 5, 51  # calls before the timing starts, and timed calls


class Thresholds(BaseSettings):
    """The thresholds, from LAB_GATE_*. Read with `Thresholds.read()`, which explains a wrong value in one line."""

    model_config = SettingsConfigDict(env_prefix="LAB_GATE_")

    min_accuracy: float = Field(default=0.0, ge=0, le=1)
    """The least share of held-out images that must be right."""

    max_accuracy_loss: float = Field(default=0.005, ge=0, le=1)
    """How far a version's accuracy may be below that of the version it would replace."""

    max_disagreement: float = Field(default=0.1, ge=0, le=1)
    """The share of images it may classify differently from the other, in addition to its gain in accuracy."""

    max_latency_ms: float = Field(default=100.0, gt=0)
    """How many milliseconds a version's graph may take for one request, as the median of 51."""

    images: int = Field(default=2000, ge=1)
    """The largest number of held-out images to measure with."""

    @classmethod
    def read(cls) -> "Thresholds":
        """The environment's thresholds. Raises LabError for a wrong value."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]).upper()
            raise LabError(f"LAB_GATE_{name} is {first['input']!r}: {first['msg']}.") from error


@dataclass(frozen=True)
class Check:
    """One number against its threshold. passed: None where it could not be measured, and `message` has the reason."""

    name: str
    passed: bool | None
    message: str
    value: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Report:
    """The gate's results for a version, and for the one it would replace (current, 0: none)."""

    version: int
    current: int
    data_set: str
    images: int
    checks: tuple[Check, ...]
    created: str

    @property
    def passed(self) -> bool:
        return not self.failed

    @property
    def failed(self) -> list[str]:
        """The messages of the checks that missed their threshold."""
        return [check.message for check in self.checks if check.passed is False]

    def document(self, **more: object) -> dict[str, Any]:
        """The report as JSON, with `more` fields."""
        return {"schema": 3, **asdict(self), "passed": self.passed, **more}


@dataclass(frozen=True)
class _Held:
    """Held-out images; right: the label's index for each."""

    name: str
    images: np.ndarray
    right: np.ndarray
    labels: tuple[str, ...]
    total: int  # all test images of the set, of which these are a part

    @property
    def description(self) -> str:
        count = len(self.right)
        part = f"{count} images" if count == self.total else f"{count} of the {self.total} test images"
        return f"{part} of {self.name}"


@dataclass(frozen=True)
class _Decisions:
    """A model's decision for each image: a label, or whether it is beyond a concept model's threshold."""

    values: np.ndarray
    labels: tuple[str, ...]


def check_version(
    folder: Path,
    current: Path | None,
    data: Dataset | None,
    thresholds: Thresholds | None = None,
    also: Sequence[Dataset] = (),
) -> Report:
    """Measure the version in `folder`, and the one in `current`, on the test images of `data` and of the sets `also`.

    The checks of the first set are called "accuracy" and "disagreement", those of others "accuracy on NAME". A check
    that cannot be measured, such as the accuracy of a model without image input, does not fail; the report has the
    reason. Raises LabError when the version does not load.
    """
    thresholds = thresholds or Thresholds.read()
    sets = [_held(each, thresholds.images) for each in ([data] if data else []) + [*also]]
    measured: list[_Held | None] = [*sets] or [None]
    with Graph(folder) as graph:
        checks = [_golden(graph, folder), _latency(graph, folder, thresholds)]
        mine = [_decisions(graph, held) for held in measured]
    theirs: list[_Decisions | str] = ["no earlier version exists"] * len(measured)
    if current is not None:
        try:
            with Graph(current) as graph:
                theirs = [_decisions(graph, held) for held in measured]
        except LabError as error:
            theirs = [f"the current version does not load: {error}"] * len(measured)
    for number, (held, this, that) in enumerate(zip(measured, mine, theirs, strict=True)):
        found = (_accuracy(this, that, held, thresholds), _disagreement(this, that, held, thresholds))
        checks += [replace(check, name=f"{check.name} on {held.name}") if number and held else check for check in found]
    name, count = "+".join(held.name for held in sets), sum(len(held.right) for held in sets)
    return Report(int(folder.name), int(current.name) if current else 0, name, count, tuple(checks), now())


def _held(data: Dataset, most: int) -> _Held:
    rows = np.linspace(0, len(data.test) - 1, min(most, len(data.test)), dtype=int)
    return _Held(data.name, data.test.images[rows], data.test.labels[rows], tuple(data.labels), len(data.test))


def _golden(graph: Graph, folder: Path) -> Check:
    samples = [sample for sample in golden_samples(folder) if sample.outputs]
    if not samples:
        return Check("golden samples", None, "it carries no golden samples")
    try:
        compare(graph, samples)
    except LabError as error:
        return Check("golden samples", False, str(error))
    return Check("golden samples", True, f"all {len(samples)} golden samples get their recorded answers")


def _latency(graph: Graph, folder: Path, thresholds: Thresholds) -> Check:
    samples = golden_samples(folder)
    if not samples:
        return Check("latency", None, "it carries no golden sample to time a request with")
    times = []
    try:
        for _ in range(_WARM + _RUNS):
            start = time.perf_counter()
            graph.run(samples[0].signature, samples[0].inputs)
            times.append(time.perf_counter() - start)
    except LabError as error:
        return Check("latency", False, f"its graph cannot be run with a golden sample: {error}")
    found = round(1000 * float(np.median(times[_WARM:])), 3)
    message = f"its graph takes {found:.1f} ms for one request (median); {thresholds.max_latency_ms:g} ms are allowed"
    return Check("latency", found <= thresholds.max_latency_ms, message, found, thresholds.max_latency_ms)


def _decisions(graph: Graph, held: _Held | None) -> _Decisions | str:
    """The model's decisions for the held-out images, or why it cannot be run."""
    if held is None:
        return "no held-out images are given"
    signature = graph.signatures.get(DEFAULT)
    alias = _image_input(signature, held) if signature else ""
    output = next((name for name in ("scores", "score") if signature and name in signature.outputs), "")
    if not alias or not output or signature is None:
        return f"its signature does not take images as those of {held.name} for scores"
    card = graph.card() or {}
    pixels = card_range(card)
    found = []
    for start in range(0, len(held.images), _BATCH):
        images = held.images[start : start + _BATCH]
        value = as_input(images, signature.inputs[alias].dtype, pixels)  # as the gateway does
        try:
            found.append(graph.run(DEFAULT, {alias: value})[output])
        except LabError as error:
            return f"its graph cannot be run with images of {held.name}: {error}"
    return _decided(np.concatenate(found), card, held)


def _image_input(signature: Signature, held: _Held) -> str:
    """The alias of the only input, if the held-out images fit it; else ""."""
    if len(signature.inputs) != 1:
        return ""
    ((alias, tensor),) = signature.inputs.items()
    shape = tensor.shape or ()
    fits = len(shape) == 4 and all(size in (-1, have) for size, have in zip(shape, held.images.shape, strict=True))
    return alias if fits and tensor.dtype in ("uint8", "float32") else ""


def _decided(scores: np.ndarray, card: Mapping[str, Any], held: _Held) -> _Decisions | str:
    if scores.ndim == 2:
        labels = tuple(map(str, card.get("labels") or held.labels))
        if len(labels) != scores.shape[1]:
            return f"it returns {scores.shape[1]} scores for the {len(labels)} labels of {held.name}"
        if not set(held.labels) & set(labels):
            return (
                f"its labels ({', '.join(labels[:3])} ...) are none of {held.name} ({', '.join(held.labels[:3])} ...)"
            )
        return _Decisions(np.asarray(labels)[scores.argmax(axis=1)], labels)
    if "threshold" not in card:
        return "its card has no threshold to decide by"
    return _Decisions(scores.reshape(-1) > card["threshold"], ())


def _accuracy(mine: _Decisions | str, theirs: _Decisions | str, held: _Held | None, thresholds: Thresholds) -> Check:
    if isinstance(mine, str) or held is None:
        return Check("accuracy", None, f"accuracy is not measured: {mine}")
    found, before = _share_right(mine, held), None
    # Also for a model with other labels: where it lacks one of the set's labels, it is wrong.
    if not isinstance(theirs, str) and bool(mine.labels) == bool(theirs.labels):
        before = _share_right(theirs, held)
    threshold, why = thresholds.min_accuracy, ""
    if before is not None and before - thresholds.max_accuracy_loss > threshold:
        threshold, why = (
            before - thresholds.max_accuracy_loss,
            f" (the current version, measured on the same, has {before:.2%})",
        )
    message = f"accuracy is {found:.2%} on {held.description}; at least {threshold:.2%} is wanted{why}"
    return Check("accuracy", found >= threshold, message, round(found, 4), round(threshold, 4))


def _disagreement(
    mine: _Decisions | str, theirs: _Decisions | str, held: _Held | None, thresholds: Thresholds
) -> Check:
    for reason in (mine, theirs):
        if isinstance(reason, str):
            return Check("disagreement", None, f"disagreement is not measured: {reason}")
    before = _before(mine, theirs, held)
    if isinstance(mine, str) or isinstance(theirs, str) or held is None or before is None:
        return Check("disagreement", None, "disagreement is not measured: the current version has other labels")
    found = float((mine.values != theirs.values).mean())
    # Images that only the new version gets right may differ.
    threshold = min(1.0, thresholds.max_disagreement + max(0.0, _share_right(mine, held) - before))
    message = (
        f"{found:.2%} of the images are classified other than by the current version; at most {threshold:.2%} may be"
    )
    return Check("disagreement", found <= threshold, message, round(found, 4), round(threshold, 4))


def _share_right(decisions: _Decisions, held: _Held) -> float:
    """The share of right answers; for a concept model all images are of the concept, none beyond the threshold."""
    right = decisions.values == np.asarray(held.labels)[held.right] if decisions.labels else ~decisions.values
    return float(right.mean())


def _before(mine: _Decisions | str, theirs: _Decisions | str, held: _Held | None) -> float | None:
    """The current version's accuracy, None if it cannot be compared."""
    if isinstance(mine, str) or isinstance(theirs, str) or held is None or mine.labels != theirs.labels:
        return None
    return _share_right(theirs, held)
