"""The served models' live metrics for TensorBoard: from the gateway's /metrics into `<logs>/serving/<model>/`.

reading = read(gateway)
...
for model, figures in since(reading, read(gateway), seconds).items():
    Events(logs / "serving" / model).write(figures)
"""

import os
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tensor_jupyter.context import NAME
from tensor_jupyter.errors import LabError
from tensor_jupyter.gateway import Gateway

_FAMILY = "tensor_rest_request_seconds"


@dataclass
class Answers:
    """One model's answers since the gateway started. within: successful ones by latency bound (seconds), cumulative."""

    by_outcome: Counter[str] = field(default_factory=Counter)
    by_version: Counter[str] = field(default_factory=Counter)
    within: Counter[float] = field(default_factory=Counter)


def read(gateway: Gateway) -> dict[str, Answers]:
    """Return the answers of each model that has any. Raises LabError if the gateway does not return its metrics."""
    found: dict[str, Answers] = {}
    for name, labels, value in samples(gateway, _FAMILY, ("model", "version", "outcome")):
        if not NAME.fullmatch(labels["model"]):  # "" if no model answered; the name becomes a folder
            continue
        answers = found.setdefault(labels["model"], Answers())
        if name.endswith("_count"):
            answers.by_outcome[labels["outcome"]] += int(value)
            answers.by_version[labels["version"]] += int(value)
        elif name.endswith("_bucket") and labels["outcome"] == "200":
            answers.within[float(labels["le"])] += int(value)
    return found


def samples(gateway: Gateway, family: str, wanted: Sequence[str]) -> list[tuple[str, dict[str, str], float]]:
    """Return name, labels and value of each sample of a metric. Raises LabError if one lacks a label of `wanted`."""
    reply = gateway.send("GET", "/metrics")
    if reply.status != 200:
        raise LabError(f"The gateway refuses its metrics: {reply.message}")
    try:
        families = [each for each in text_string_to_metric_families(reply.body.decode()) if each.name == family]
        found = [(name, labels, value) for each in families for name, labels, value, *_ in each.samples]
        for name, labels, _ in found:
            needed = (*wanted, "le") if name.endswith("_bucket") else wanted
            if missing := set(needed) - set(labels):
                raise LookupError(f"{name} without {', '.join(sorted(missing))}")
    except (ValueError, LookupError) as error:
        raise LabError(f"{reply.url} does not answer as the lab's gateway does: {error!r}.") from error
    return found


def since(before: dict[str, Answers], now: dict[str, Answers], seconds: float) -> dict[str, dict[str, float]]:
    """Return each model's figures between two readings, by tag; if the gateway restarted, those since its start."""
    return {name: _figures(before.get(name, Answers()), answers, seconds) for name, answers in now.items()}


def percentile(within: Counter[float], share: float) -> float:
    """Return the latency in seconds that `share` of the answers did not exceed, interpolated within its bucket.

    within: cumulative counts by upper bound. Returns nan without answers, and at most the largest finite bound.
    """
    bounds = sorted(within)
    wanted = share * within[bounds[-1]] if bounds else 0
    for low, high in pairwise([0.0, *bounds]):
        if wanted and within[high] >= wanted:
            below = within.get(low, 0)
            return low if high == float("inf") else low + (high - low) * (wanted - below) / (within[high] - below)
    return float("nan")


class Events:
    """A TensorBoard event file in `folder`, written without TensorFlow."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self._append(file_version="brain.Event:2")

    def write(self, figures: dict[str, float]) -> None:
        """Write one point of each curve, to the disk at once.

        The step is the time in seconds, so that a later watch continues the curves of an earlier one.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in figures.items()]
        self._append(step=int(time.time()), summary=Summary(value=values))

    def _append(self, **content: object) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        with self._path.open("ab") as file:
            RecordWriter(file).write(Event(wall_time=time.time(), **content).SerializeToString())


def _figures(before: Answers, now: Answers, seconds: float) -> dict[str, float]:
    if any(count > now.by_outcome[outcome] for outcome, count in before.by_outcome.items()):
        before = Answers()  # the gateway was restarted
    outcomes, versions = now.by_outcome - before.by_outcome, now.by_version - before.by_version
    within = Counter({bound: count - before.within[bound] for bound, count in now.within.items()})
    figures = {"answers_per_second": outcomes.total() / seconds}
    figures |= {f"outcome/{outcome}": outcomes[outcome] / seconds for outcome in now.by_outcome}
    figures |= {f"version/{version}": versions[version] / seconds for version in now.by_version}
    if outcomes["200"]:
        figures |= {f"latency_ms/p{share}": 1000 * percentile(within, share / 100) for share in (50, 99)}
    return figures
