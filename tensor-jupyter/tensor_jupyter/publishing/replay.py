"""Does a written model answer as it should? Asked in a process of its own, so that nothing of the trainer's can help.

    python -m tensor_jupyter.publishing.replay FOLDER    # exit code 0, or 1 and the reason in the last line

It is loaded as the C++ model server does, from its graph: what only Python can load is found out here. The folder
brings its own questions and answers, the golden samples in its warm-up file.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.graph import DEFAULT, Graph

WARM_UP = Path("assets.extra/tf_serving_warmup_requests")

TOLERANCE = 1e-4
"""The most a score may differ from the recorded one, relative to it above 1; float32 kernels may be fused otherwise."""

_SECONDS = 300


@dataclass(frozen=True)
class Sample:
    """One request, and the outputs it must get, each by alias; no outputs: whatever comes is right."""

    signature: str
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


def check(folder: Path, tolerance: float = TOLERANCE, foreign: bool = False) -> None:
    """Replay the golden samples in a new process. Raises LabError with the reason when the model must not be served.

    foreign: the model was made elsewhere, so it may come without golden samples and without a card.
    """
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    # Without a GPU: the trainer holds it.
    environment = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-m", "tensor_jupyter.publishing.replay", str(folder), "--tolerance", str(tolerance)]
    command += ["--foreign"] if foreign else []
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"The model does not answer within {_SECONDS} s, so it was not published.") from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise LabError(f"The model cannot be served, so it was not published: {reason}")


def replay(folder: Path, tolerance: float = TOLERANCE, foreign: bool = False) -> None:
    """Raises LabError unless every golden sample gets its recorded outputs, and the card comes once for each row."""
    samples = golden_samples(folder)
    with Graph(folder) as graph:
        if not graph.signatures:
            raise LabError("it has no signatures, so nobody could call it")
        if not samples and not foreign:
            raise LabError(f"{WARM_UP} holds no golden samples")
        compare(graph, samples, tolerance)
        if not foreign:
            _check_card(graph, samples)


def compare(graph: Graph, samples: Iterable[Sample], tolerance: float = TOLERANCE) -> None:
    """Raises LabError for the first golden sample that does not get its recorded outputs."""
    for sample in samples:
        found = graph.run(sample.signature, sample.inputs)
        for alias, wanted in sample.outputs.items():
            if alias not in found or not _equal(found[alias], wanted, tolerance):
                raise LabError(f"the golden samples get other {alias} than those recorded, or no numbers at all")


def golden_samples(folder: Path) -> list[Sample]:
    """The Predict records of the warm-up file, none if there is no such file. LabError for one that is unreadable."""
    path = folder / WARM_UP
    if not path.is_file():
        return []
    samples = []
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.WhichOneof("log_type") == "predict_log":
                request, response = log.predict_log.request, log.predict_log.response
                name = request.model_spec.signature_name or DEFAULT
                samples.append(Sample(name, _arrays(request.inputs), _arrays(response.outputs)))
    except (tf.errors.OpError, OSError, ValueError, TypeError) as error:
        raise LabError(f"{WARM_UP} cannot be read: {' '.join(str(error).split())[:300]}") from error
    except Exception as error:  # protobuf's DecodeError has no home that stays the same
        raise LabError(f"{WARM_UP} holds a record that is no PredictionLog: {error}") from error
    return samples


def write_golden_samples(
    folder: Path, name: str, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
) -> None:
    """One PredictionLog for each row of `inputs` [N, ...], with the row of `outputs` [N, ...] that it must get."""
    path = folder / WARM_UP
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as records:
        for row in range(len(next(iter(inputs.values())))):
            request = predict_pb2.PredictRequest(inputs=_row(inputs, row))
            request.model_spec.name = name
            request.model_spec.signature_name = DEFAULT
            response = predict_pb2.PredictResponse(outputs=_row(outputs, row))
            log = prediction_log_pb2.PredictLog(request=request, response=response)
            records.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def _row(tensors: Mapping[str, np.ndarray], row: int) -> dict[str, object]:
    return {alias: tf.make_tensor_proto(values[row : row + 1]) for alias, values in tensors.items()}


def _arrays(tensors: Mapping[str, object]) -> dict[str, np.ndarray]:
    return {alias: tf.make_ndarray(tensor) for alias, tensor in tensors.items()}


def _equal(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    if found.shape != wanted.shape:
        return False
    if found.dtype.kind not in "fc":
        return bool((found == wanted).all())
    return bool(np.isfinite(found).all() and np.allclose(found, wanted, rtol=tolerance, atol=tolerance))


def _check_card(graph: Graph, samples: list[Sample]) -> None:
    rows = len(samples)
    cards = graph.run("describe", {"index": np.zeros(rows, np.int32)})["card"]
    if cards.shape != (rows,) or len(set(cards.tolist())) != 1:
        raise LabError(f"{rows} rows of 'describe' give cards of shape {cards.shape}, not one for each")
    labels = json.loads(cards[0]).get("labels")
    scores = samples[0].outputs.get("scores")
    if scores is not None and scores.ndim == 2 and labels is not None and len(labels) != scores.shape[1]:
        raise LabError(f"the card names {len(labels)} labels for {scores.shape[1]} scores")


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tensor_jupyter.publishing.replay", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    parser.add_argument("--foreign", action="store_true", help="made elsewhere: golden samples and card may be missing")
    given = parser.parse_args()
    try:
        replay(given.folder, given.tolerance, given.foreign)
    except LabError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
