"""Whether the rows of a version are independent: a row's output does not depend on other rows of the request.

Only then may a server batch, split or join requests (docs/contracts.md, "Independent rows"). An open first dimension
does not declare it: a sum over rows has one too. Every signature is run with the same rows in different requests.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.graph import Graph, Signature
from tensor_jupyter.publishing.made_up import made_up
from tensor_jupyter.publishing.samples import Sample

DECLARATION = Path("assets.extra/batching_params.pbtxt")
"""Beside a version whose rows are independent: TensorFlow Serving's file of batching parameters."""

TOLERANCE = 1e-5
"""How much an output may differ between two requests; relative for values above 1."""

_PARAMETERS = """\
# The rows of every signature are independent: batching, splitting and joining requests change no answer.
max_batch_size { value: 1048576 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 65536 }
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 32 }
"""

_ROWS = 6  # of made-up requests
_JOINED = 40  # rows, more than a server runs at once
_FAR = 1000  # factor of padding rows, so that they would dominate a sum or a maximum
_WRITES_STATE = re.compile("Assign|Resource(Apply|Scatter)|LookupTable(Insert|Import|Remove)|.*(Enqueue|Dequeue)")


def declare(folder: Path) -> None:
    """Write the file that declares the rows of the version in `folder` independent."""
    path = folder / DECLARATION
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_PARAMETERS)


@dataclass(frozen=True)
class Finding:
    """Whether the rows are independent, None if unknown; reason: why they are dependent or unknown."""

    independent: bool | None
    reason: str = ""


def compare_rows(graph: Graph, samples: Iterable[Sample], imagined: bool = False) -> Finding:
    """Run every signature with the same rows in different requests.

    imagined: use random numbers for a signature that has fewer than two rows of golden samples.
    """
    known = list(samples)
    unknown = ""
    for name, signature in graph.signatures.items():
        if name == "describe" and signature.is_card:
            continue  # one card for each row
        try:
            reason = _dependence(graph, name, _request(name, signature, known, imagined))
        except LabError as error:
            unknown = unknown or f"{name}: {error}"
            continue
        if reason:
            return Finding(False, f"{name}: {reason}")
    return Finding(None, unknown) if unknown else Finding(True)


def _request(name: str, signature: Signature, samples: list[Sample], imagined: bool) -> dict[str, np.ndarray]:
    """At least two rows for the signature. Raises LabError if there are none, or its number of rows is fixed."""
    for tensor in signature.inputs.values():
        if not tensor.shape or tensor.shape[0] != -1:
            raise LabError(f"its input is {tensor}, without an open number of rows")
    if not signature.inputs:
        raise LabError("it has no inputs")
    mine = [sample.inputs for sample in samples if sample.signature == name]
    shapes = [{alias: value.shape[1:] for alias, value in inputs.items()} for inputs in mine]
    same = [inputs for inputs, shape in zip(mine, shapes, strict=True) if shape == shapes[0]]
    rows = {alias: np.concatenate([inputs[alias] for inputs in same]) for alias in (same[0] if same else ())}
    if rows and len(next(iter(rows.values()))) >= 2:
        return rows
    if not imagined:
        raise LabError("it has fewer than two golden samples to compare")
    random = np.random.default_rng(0)
    return {
        alias: made_up(tensor.dtype, (tensor.shape or ())[1:], _ROWS, random, texts=False)
        for alias, tensor in signature.inputs.items()
    }


def _dependence(graph: Graph, name: str, request: Mapping[str, np.ndarray]) -> str:
    count = len(next(iter(request.values())))
    whole = graph.run(name, request)
    for alias, value in whole.items():
        if value.ndim == 0 or len(value) != count:
            return f"{alias} has shape {list(value.shape)} for {count} rows (expected one for each row)"
    writes = sorted(op for op in graph.operations(name) if _WRITES_STATE.match(op))
    if writes:
        return f"a call changes the model's state ({writes[0]})"
    for how, rows, padding in _requests(count):
        given = {alias: _padded(value[rows], padding) for alias, value in request.items()}
        try:
            found = graph.run(name, given)
        except LabError:
            if padding:  # numbers that the model refuses, such as indices out of range
                continue
            raise
        for alias, value in found.items():
            if value.shape[:1] != (len(rows) + (padding is not None) * count,):
                return f"{alias} has another number of rows when they are {how}"
            if not _equal(value[: len(rows)], whole[alias][rows]):
                return f"{alias} differs when the rows are {how}"
    return ""


def _requests(count: int) -> Iterator[tuple[str, np.ndarray, int | None]]:
    """The requests to compare with the whole: how the rows are sent, which rows, and the factor of the padding."""
    every = np.arange(count)
    yield "sent again", every, None
    for part in (*np.array_split(every, count), *np.array_split(every, 2)):
        yield "split", part, None
    yield "joined", np.resize(every, _JOINED + count), None
    yield "permuted", every[::-1], None
    yield "permuted", np.random.default_rng(0).permutation(count), None
    yield "padded", every, 0
    yield "padded", every, -_FAR
    yield "padded", every, _FAR


def _padded(rows: np.ndarray, factor: int | None) -> np.ndarray:
    """The rows, then as many padding rows: `factor` times their numbers where possible, else empty or equal ones."""
    if factor is None:
        return rows
    behind = rows
    if rows.dtype.kind == "f":
        behind = (np.clip(rows * float(factor), -60_000, 60_000)).astype(rows.dtype)
    elif factor == 0:
        behind = np.full_like(rows, b"" if rows.dtype.kind in "OS" else 0)
    return np.concatenate([rows, behind])


def _equal(found: np.ndarray, wanted: np.ndarray) -> bool:
    if found.shape != wanted.shape:
        return False
    if found.dtype.kind not in "fc":
        return bool((found == wanted).all())
    return bool(np.allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
