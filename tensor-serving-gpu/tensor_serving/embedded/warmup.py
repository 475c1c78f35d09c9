"""Warm-up: replaying a version's `assets.extra/tf_serving_warmup_requests` before it becomes AVAILABLE."""

import logging
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from tensor_serving.embedded import classify, inference, predict, regress, tfrecord
from tensor_serving.embedded.errors import invalid
from tensor_serving.embedded.runtime import Model

log = logging.getLogger(__name__)

_MAX_RECORDS = 1000  # TF Serving's limit

_KINDS = {
    "predict_log": predict.prepare,
    "classify_log": classify.prepare,
    "regress_log": regress.prepare,
    "multi_inference_log": inference.prepare,
}


def warm_up(model: Model, folder: Path) -> None:
    """Replay the records of a version folder; session runs, for which this server has no API, are skipped.

    Raises ServingError when a record cannot be read or the model refuses it: the version then fails to load.
    """
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    if not path.is_file():
        return
    count = replayed = 0
    try:
        for count, record in enumerate(tfrecord.records(path), start=1):
            if count > _MAX_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({_MAX_RECORDS}) at {path}")
            entry = prediction_log_pb2.PredictionLog.FromString(record)
            kind = entry.WhichOneof("log_type")
            if kind in _KINDS:
                model.run(_KINDS[kind](model.signatures, getattr(entry, kind).request))
                replayed += 1
    except DecodeError as error:
        raise invalid(f"Failed to parse warmup record {count} from {path}") from error
    if count:
        log.info("%s: %d warm-up records replayed", folder, replayed)
