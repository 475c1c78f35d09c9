"""The records a version is exercised with before it goes live: `assets.extra/tf_serving_warmup_requests`."""

import logging
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from tensor_serving.embedded.errors import by_number, invalid
from tensor_serving.embedded.predict import predict
from tensor_serving.embedded.runtime import Model

log = logging.getLogger(__name__)

_MOST_RECORDS = 1000  # the real server's limit


def warm_up(model: Model, folder: Path) -> None:
    """Replay the Predict records of a version folder; records of other kinds are passed over.

    Raises ServingError when a record cannot be read or the model refuses it: such a version does not go live.
    """
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    if not path.is_file():
        return
    try:
        for count, record in enumerate(tf.compat.v1.io.tf_record_iterator(str(path)), start=1):
            if count > _MOST_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({_MOST_RECORDS}) at {path}")
            entry = prediction_log_pb2.PredictionLog.FromString(record)
            if entry.HasField("predict_log"):
                predict(model, entry.predict_log.request)
    except tf.errors.OpError as error:
        text = f"{error.message}. Please verify your warmup data is in TFRecord format."
        raise by_number(error.error_code, text) from error
    except DecodeError as error:
        raise invalid(f"Failed to parse warmup record {count} from {path}") from error
