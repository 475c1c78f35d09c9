"""The check of a written model: does it reproduce the recorded outputs, and are its rows independent?

    python -m tensor_jupyter.publishing.replay FOLDER    # exit code 0, or 1 and the reason in the last line

It runs in a process of its own and loads the model from its graph, as the C++ model server does: so it fails for what
only the trainer's Python can load. The golden samples of the folder are the requests and the expected outputs.
"""

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.graph import Graph
from tensor_jupyter.publishing.independence import Finding, compare_rows
from tensor_jupyter.publishing.samples import WARM_UP, Sample, golden_samples

TOLERANCE = 1e-4
"""How much a score may differ from the recorded one, relative above 1: float32 kernels may be fused differently."""

_SECONDS = 300
_SOUND = "sound"  # the line that the process prints when all recorded outputs were reproduced
_FINDINGS = {"independent": True, "dependent": False, "unknown": None}  # by the first word of its last line

_log = logging.getLogger(__name__)


def check(folder: Path, tolerance: float = TOLERANCE, foreign: bool = False) -> bool | None:
    """Replay the golden samples in a new process, and return whether the rows are independent, None if unknown.

    Args:
        folder: The written version.
        tolerance: How far a replayed score may be from the recorded one.
        foreign: The model was made elsewhere: it may have no golden samples; its rows are then compared with
            made-up numbers.

    Raises:
        LabError: With the reason, when the model must not be served.
    """
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    # Without a GPU: the trainer holds it.
    environment = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-m", "tensor_jupyter.publishing.replay", str(folder), "--tolerance", str(tolerance)]
    command += ["--foreign"] if foreign else []
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=_SECONDS)
        output, errors, code = done.stdout, done.stderr, str(done.returncode) if done.returncode else ""
    except subprocess.TimeoutExpired as error:
        output, errors, code = error.stdout or b"", b"", f"no answer within {_SECONDS} s"
    lines = output.decode(errors="replace").splitlines()
    if _SOUND not in lines:
        reason = (errors.decode(errors="replace").strip().splitlines() or [code or "no answer"])[-1]
        raise LabError(f"The model cannot be served, so it was not published: {reason}")
    found, _, reason = lines[-1].partition(" ")
    if code or found not in _FINDINGS:
        return _logged(Finding(None, f"their comparison ended with {code or 'no answer'}"))
    return _logged(Finding(_FINDINGS[found], reason))


def replay(folder: Path, tolerance: float = TOLERANCE, foreign: bool = False) -> bool | None:
    """`check` without a new process."""
    with Graph(folder) as graph:
        samples = _replayed(graph, folder, tolerance, foreign)
        return _logged(compare_rows(graph, samples, imagined=foreign))


def _replayed(graph: Graph, folder: Path, tolerance: float, foreign: bool) -> list[Sample]:
    """The golden samples. Raises LabError unless each gets its recorded outputs."""
    samples = golden_samples(folder)
    if not graph.signatures:
        raise LabError("it has no signatures, so it cannot be called")
    if not samples and not foreign:
        raise LabError(f"{WARM_UP} holds no golden samples")
    compare(graph, samples, tolerance)
    return samples


def _logged(finding: Finding) -> bool | None:
    if finding.independent is False:
        _log.warning("each request will run alone, since the rows depend on each other: %s", finding.reason)
    elif finding.independent is None:
        _log.info("the rows are not known to be independent: %s", finding.reason)
    return finding.independent


class Runnable(Protocol):
    """A version that can be called: its graph, or the gateway that serves it."""

    def run(self, signature: str, inputs: Mapping[str, Any], /) -> dict[str, np.ndarray]:
        """Return every output of a signature by alias, for its inputs by alias."""


def compare(graph: Runnable, samples: Iterable[Sample], tolerance: float = TOLERANCE) -> None:
    """Run the golden samples. Raises LabError for the first one whose outputs are not the recorded ones."""
    for sample in samples:
        found = graph.run(sample.signature, sample.inputs)
        for alias, wanted in sample.outputs.items():
            if alias not in found or not _equal(found[alias], wanted, tolerance):
                raise LabError(f"output {alias!r} of a golden sample differs from the recorded one, or is not finite")


def _equal(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    if found.shape != wanted.shape:
        return False
    if found.dtype.kind not in "fc":
        return bool((found == wanted).all())
    return bool(np.isfinite(found).all() and np.allclose(found, wanted, rtol=tolerance, atol=tolerance))


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tensor_jupyter.publishing.replay", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    parser.add_argument("--foreign", action="store_true", help="made elsewhere: golden samples may be missing")
    given = parser.parse_args()
    try:
        with Graph(given.folder) as graph:
            samples = _replayed(graph, given.folder, given.tolerance, given.foreign)
            sys.stdout.write(f"{_SOUND}\n")
            sys.stdout.flush()  # is then known even if the comparison of rows crashes this process
            finding = compare_rows(graph, samples, imagined=given.foreign)
            word = next(word for word, independent in _FINDINGS.items() if independent is finding.independent)
            sys.stdout.write(f"{word} {finding.reason}")
    except LabError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
