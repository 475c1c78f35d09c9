"""Does a written model answer as it should? Asked in a process of its own, so that nothing of the trainer's can help.

    python -m tensor_jupyter.replay FOLDER      # exit code 0, or 1 and the reason in the last line

It is loaded as the C++ model server does, from its graph: what only Python can load is found out here. The folder
brings its own questions and answers, the golden samples in its warm-up file.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tensor_jupyter.errors import LabError

WARM_UP = Path("assets.extra/tf_serving_warmup_requests")

TOLERANCE = 1e-4
"""The most a score may differ from the recorded one; float32 kernels may be fused in other ways."""

_SECONDS = 300


def check(folder: Path) -> None:
    """Replay the golden samples in a new process. Raises LabError with the reason when the model must not be served."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    # Without a GPU: the trainer holds it.
    environment = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-m", "tensor_jupyter.replay", str(folder)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"The exported model does not answer within {_SECONDS} s, so it was not published.") from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise LabError(f"The exported model cannot be served, so it was not published: {reason}")


def replay(folder: Path) -> None:
    """Raises LabError unless every golden sample gets its recorded scores, and the card comes once for each row."""
    try:
        images, wanted = golden_samples(folder)
        scores, cards = _ask(folder, images)
    except (tf.errors.OpError, KeyError, OSError, RuntimeError, ValueError) as error:
        raise LabError(" ".join(f"{type(error).__name__}: {error}".split())[:500]) from error
    if scores.shape != wanted.shape or not np.isfinite(scores).all() or np.abs(scores - wanted).max() > TOLERANCE:
        raise LabError("the golden samples get other scores than those recorded, or no numbers at all")
    if cards.shape != images.shape[:1] or len(set(cards.tolist())) != 1:
        raise LabError(f"{len(images)} rows of 'describe' give cards of shape {cards.shape}, not one for each")
    labels = json.loads(cards[0])["labels"]
    if len(labels) != scores.shape[1]:
        raise LabError(f"the card names {len(labels)} labels for {scores.shape[1]} scores")


def golden_samples(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The warm-up file's images [N, H, W, C] and the scores [N, classes] recorded for them. ValueError if none."""
    images, scores = [], []
    for record in tf.data.TFRecordDataset(str(folder / WARM_UP)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record).predict_log
        images.append(tf.make_ndarray(log.request.inputs["images"]))
        scores.append(tf.make_ndarray(log.response.outputs["scores"]))
    if not images:
        raise ValueError(f"{WARM_UP} holds no golden samples")
    return np.concatenate(images), np.concatenate(scores)


def write_golden_samples(folder: Path, name: str, images: np.ndarray, scores: np.ndarray) -> None:
    """One PredictionLog for each picture, with the answer it must get."""
    path = folder / WARM_UP
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as records:
        for picture, answer in zip(images[:, np.newaxis], scores[:, np.newaxis], strict=True):
            request = predict_pb2.PredictRequest(inputs={"images": tf.make_tensor_proto(picture)})
            request.model_spec.name = name
            request.model_spec.signature_name = "serving_default"
            response = predict_pb2.PredictResponse(outputs={"scores": tf.make_tensor_proto(answer)})
            log = prediction_log_pb2.PredictLog(request=request, response=response)
            records.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def _ask(folder: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores of `images`, and the card asked for in as many rows."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        predict, describe = meta.signature_def["serving_default"], meta.signature_def["describe"]
        scores = session.run(predict.outputs["scores"].name, {predict.inputs["images"].name: images})
        index = np.zeros(len(images), np.int32)
        cards = session.run(describe.outputs["card"].name, {describe.inputs["index"].name: index})
    return scores, cards


if __name__ == "__main__":
    try:
        replay(Path(sys.argv[1]))
    except LabError as error:
        sys.exit(str(error))
