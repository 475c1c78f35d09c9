"""Concept scores of live images over time, against those of held-out images at training time.

    <LAB_DATA>/drift/<model>.jsonl     snapshots of the gateway's histogram, oldest first

The gateway counts scores in buckets, in memory, from its start. Each snapshot keeps these counts with the time and the
concept model's version; the difference between two is a slice of time. TensorFlow is not imported here.
"""

import datetime
import fcntl
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tensor_jupyter.context import make_shared
from tensor_jupyter.errors import LabError
from tensor_jupyter.gateway import Gateway
from tensor_jupyter.inference.catalogue import default_version
from tensor_jupyter.metrics_import import samples
from tensor_jupyter.pages.render import write
from tensor_jupyter.publishing.card import now
from tensor_jupyter.settings import Settings
from tensor_jupyter.typed import LAB

MAX_SNAPSHOTS = 2000
"""Kept for each model: two weeks of one every ten minutes."""

_FAMILY = "tensor_rest_concept_score"
_MIN_SHARE = 1e-4  # in place of a share of 0, which has no logarithm


@dataclass(frozen=True)
class Training:
    """What a concept model's card holds: its threshold, and the quantiles of the held-out images' scores."""

    version: int
    threshold: float
    quantiles: Mapping[float, float]

    def shares(self, bounds: Sequence[float]) -> np.ndarray:
        """Return the share of held-out images in each bucket, float [len(bounds)], interpolated between quantiles."""
        at = np.interp(bounds, [*self.quantiles.values()], [*self.quantiles], left=0, right=1)
        return np.diff(at, prepend=0)


@dataclass(frozen=True)
class Slice:
    """The images scored between `start` ("": when the gateway started) and `end`; counts: by a bucket's upper bound."""

    start: str
    end: str
    version: int
    counts: Mapping[float, int]

    @property
    def images(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True)
class Check:
    """One number against its threshold, with a message."""

    name: str
    passed: bool
    message: str
    value: float
    threshold: float


def snapshot(model: str, gateway: Gateway, settings: Settings) -> tuple[Training, list[Slice]]:
    """Take a snapshot of the scores, and return it with all those taken before as slices of time.

    Args:
        model: The classifier.
        gateway: The lab's gateway.
        settings: The lab's folders.

    Raises:
        LabError: If no gateway answers, the concept model is not served, or its card has no quantiles.
    """
    training = _training(f"{model}-concept", gateway)
    counts = {
        labels["le"]: int(value)
        for name, labels, value in samples(gateway, _FAMILY, ("model",))
        if name.endswith("_bucket") and labels["model"] == model
    }
    path = settings.data / "drift" / f"{model}.jsonl"
    make_shared(path.parent)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _read(path)
        last = found[-1] if found else {"counts": {}}
        if counts and (counts != last["counts"] or training.version != last["version"]):
            found.append({"time": now(), "version": training.version, "counts": counts})
            if len(found) > MAX_SNAPSHOTS:
                found = found[-MAX_SNAPSHOTS:]
                found[0]["baseline"] = True  # its counts include those of dropped snapshots
            write(path, "".join(f"{json.dumps(each)}\n" for each in found))
    return training, _slices(found)


def recent(slices: Sequence[Slice], version: int, hours: float) -> list[Slice]:
    """Return the slices of a version that ended within so many hours."""
    since = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)
    return [each for each in slices if each.version == version and moment(each.end) >= since]


def added(slices: Sequence[Slice]) -> dict[float, int]:
    """Return the counts of all slices together, by ascending bound."""
    bounds = sorted({bound for each in slices for bound in each.counts})
    return {bound: sum(each.counts.get(bound, 0) for each in slices) for bound in bounds}


def check_scores(counts: Mapping[float, int], training: Training, max_psi: float, max_foreign: float) -> list[Check]:
    """Compare live scores with those of training.

    Args:
        counts: Images by the bucket's upper bound, ascending; at least one.
        training: The threshold and the quantiles to compare with.
        max_psi: The highest population stability index over the buckets.
        max_foreign: The largest share of images over the threshold.
    """
    live, expected = live_shares(counts), training.shares([*counts])
    have, want = np.maximum(live, _MIN_SHARE), np.maximum(expected, _MIN_SHARE)
    psi = float(((have - want) * np.log(have / want)).sum())
    lower = [0.0, *counts][:-1]
    # In the bucket that contains the threshold, it is unknown how many images are over it.
    foreign = float(live[np.array(lower) >= training.threshold].sum())
    total = sum(counts.values())
    return [
        Check(
            "distribution",
            psi <= max_psi,
            f"the population stability index of the scores is {psi:.3f}; at most {max_psi:g} counts as in training",
            round(psi, 4),
            max_psi,
        ),
        Check(
            "foreign images",
            foreign <= max_foreign,
            f"at least {foreign:.2%} of {total} images are over the threshold; at most {max_foreign:.2%} may be",
            round(foreign, 4),
            max_foreign,
        ),
    ]


def live_shares(counts: Mapping[float, int]) -> np.ndarray:
    """Return the share of each bucket."""
    found = np.array([*counts.values()], float)
    shares: np.ndarray = found / found.sum()
    return shares


def moment(time: str) -> datetime.datetime:
    """Return the time that a snapshot's text means. Raises ValueError for a text without a date, time or zone."""
    return datetime.datetime.strptime(time, "%Y-%m-%dT%H:%M:%S%z")


def documents(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return the checks as JSON."""
    return [asdict(each) for each in checks]


def _training(companion: str, gateway: Gateway) -> Training:
    version, card = default_version(gateway, companion)
    try:
        quantiles = {float(share): float(score) for share, score in card["score_quantiles"].items()}
        return Training(version, float(card["threshold"]), dict(sorted(quantiles.items())))
    except (LookupError, AttributeError, TypeError, ValueError):
        raise LabError(
            f"The card of {companion} {version} has no threshold and score_quantiles to compare with: it was trained "
            f"by an earlier release. `{LAB} pipeline run --from train-concept` trains it again."
        ) from None


def _read(path: Path) -> list[dict[str, Any]]:
    """The snapshots in the file; invalid lines are left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            each = json.loads(line)
            moment(each["time"])
            counts = {bound: int(count) for bound, count in each["counts"].items() if float(bound) >= 0}
            found.append({**each, "version": int(each["version"]), "counts": counts})
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
    return found


def _slices(snapshots: Sequence[dict[str, Any]]) -> list[Slice]:
    """The counts up to the first snapshot, and between each snapshot and the next one of the same version."""
    found = []
    nothing: dict[str, Any] = {"time": "", "counts": {}}
    for before, after in pairwise([nothing, *snapshots]):
        if after.get("baseline") or before.get("version", after["version"]) != after["version"]:
            continue  # it is unknown which of the two versions scored how many
        counts = after["counts"]
        if any(counts.get(bound, 0) < count for bound, count in before["counts"].items()):
            before = nothing  # the gateway was restarted
        within = sorted((float(bound), count - before["counts"].get(bound, 0)) for bound, count in counts.items())
        each = dict(
            zip(
                [bound for bound, _ in within], np.diff([count for _, count in within], prepend=0).tolist(), strict=True
            )
        )
        if sum(each.values()):
            found.append(Slice(before["time"], after["time"], after["version"], each))
    return found
