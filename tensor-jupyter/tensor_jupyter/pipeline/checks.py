"""The checks of the pipeline's gate besides those of `publishing.release_gate`: each a number against its threshold."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from tensor_jupyter.data import Dataset
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.publishing.release_gate import Check

MAX_LEAKED = 0.001
"""The share of test images that may be in the training set, byte for byte: some sets have a few by nature."""


def separation(inside: np.ndarray, outside: np.ndarray, least: float, where: str) -> Check:
    """Check how well the concept scores separate unseen digits (inside, [N]) from letters (outside, [M])."""
    from tensor_jupyter.concept import auroc

    found = auroc(inside, outside)
    message = f"AUROC of the concept score {where} is {found:.4f} for {len(inside)} digits and {len(outside)} letters"
    return Check(f"AUROC {where}", found >= least, f"{message}; at least {least:g} is wanted", round(found, 5), least)


def false_alarms(scores: np.ndarray, threshold: float, most: float, where: str) -> Check:
    """Check that at most the share `most` of unseen digits has a concept score over `threshold`.

    Up to two standard errors more also pass: a few hundred images cannot distinguish 2 % from 3 %.
    """
    found = float((scores > threshold).mean())
    allowed = most + 2 * math.sqrt(most * (1 - most) / len(scores))
    message = (
        f"{found:.2%} of {len(scores)} unseen digits are over the concept threshold {where}; "
        f"at most {most:.2%} may be, {allowed:.2%} within two standard errors"
    )
    return Check(f"false alarms {where}", found <= allowed, message, round(found, 5), most)


def leak(data: Dataset) -> Check:
    """Check that the test images were not trained on, by the SHA-256 of each image."""
    seen = set(_hashes(data.train.images))
    found = sum(each in seen for each in _hashes(data.test.images)) / len(data.test)
    message = f"{found:.2%} of the test images are in the training set; at most {MAX_LEAKED:.2%} may be"
    return Check("test images not trained on", found <= MAX_LEAKED, message, round(found, 5), MAX_LEAKED)


def live_accuracy(right: int, answered: int, failed: int, parameters: Parameters) -> Check:
    """Check the accuracy over REST; a call that failed counts as wrong."""
    share, least = right / (answered + failed), parameters.min_accuracy
    message = f"{share:.2%} of {answered + failed} live calls are answered right; at least {least:.2%} is wanted"
    if failed:
        message += f" ({failed} calls failed)"
    return Check("live accuracy", share >= least, message, round(share, 5), least)


def live_latency(milliseconds: float, parameters: Parameters) -> Check:
    """Check the median latency of the live calls."""
    most = parameters.max_live_latency_ms
    message = f"a live call takes {milliseconds:.1f} ms (median); {most:g} ms are allowed"
    return Check("live latency", milliseconds <= most, message, round(milliseconds, 3), most)


def stand_in(data: Dataset, current: dict[str, Any] | None) -> Check:
    """Check that a model trained on a stand-in does not replace one trained on real data.

    Args:
        data: What the candidate was trained on.
        current: The `data_set` of the card of the version in place; None where there is none.
    """
    name = "data set"
    if not data.stand_in_for:
        return Check(name, True, f"it was trained on {data.name}")
    made = f"it was trained on {data.name}, a stand-in for {data.stand_in_for}"
    if current is None or current.get("stand_in_for"):
        return Check(name, True, f"{made}, and no model trained on real data is in place")
    return Check(name, False, f"{made}; the version in place was trained on {current.get('name', 'other data')}")


def documents(checks: list[Check]) -> list[dict[str, Any]]:
    """Return the checks as JSON."""
    return [asdict(check) for check in checks]


def _hashes(images: np.ndarray) -> list[bytes]:
    import hashlib

    return [hashlib.sha256(image.tobytes()).digest() for image in np.ascontiguousarray(images)]
