"""Golden samples: the requests in a version's warm-up file, and the outputs they must get."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing.graph import DEFAULT

WARM_UP = Path("assets.extra/tf_serving_warmup_requests")


@dataclass(frozen=True)
class Sample:
    """One request, and the outputs it must get, each by alias; without outputs any result is right."""

    signature: str
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


def golden_samples(folder: Path) -> list[Sample]:
    """The Predict records of the warm-up file, [] if there is none. Raises LabError for an unreadable file."""
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
    except Exception as error:  # protobuf's releases have DecodeError in different modules
        raise LabError(f"{WARM_UP} holds a record that is not a PredictionLog: {error}") from error
    return samples


def write_golden_samples(folder: Path, name: str, samples: Iterable[Sample]) -> None:
    """Write one PredictionLog of the model `name` for each sample."""
    path = folder / WARM_UP
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as records:
        for sample in samples:
            request = predict_pb2.PredictRequest(inputs=_protos(sample.inputs))
            request.model_spec.name = name
            request.model_spec.signature_name = sample.signature
            response = predict_pb2.PredictResponse(outputs=_protos(sample.outputs))
            log = prediction_log_pb2.PredictLog(request=request, response=response)
            records.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def _protos(tensors: Mapping[str, np.ndarray]) -> dict[str, object]:
    return {alias: tf.make_tensor_proto(value) for alias, value in tensors.items()}


def _arrays(tensors: Mapping[str, object]) -> dict[str, np.ndarray]:
    return {alias: tf.make_ndarray(tensor) for alias, tensor in tensors.items()}
