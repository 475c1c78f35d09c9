"""A gRPC call without any gateway, as a Python program makes it. A process of its own.

Usage: python -m rig.direct FILE, the reference's images and scores.
"""

import sys
import time

import grpc
import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from rig.workers import work


class Direct:
    """Sends the sample images, one in each call, one call after the other."""

    def __init__(self, file: str) -> None:
        self._images = np.load(file)["images"]

    def p50(self, target: str, model: str, seconds: float) -> float:
        """Return the median of a call in milliseconds."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        tensor = request.inputs["images"]
        tensor.dtype = types_pb2.DT_UINT8
        for length in (1, *self._images.shape[1:]):
            tensor.tensor_shape.dim.add(size=length)
        times: list[float] = []
        with grpc.insecure_channel(target) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            end = time.perf_counter() + seconds
            while (started := time.perf_counter()) < end:
                tensor.tensor_content = self._images[len(times) % len(self._images)].tobytes()
                stub.Predict(request, 20.0)
                times.append(time.perf_counter() - started)
        return float(np.median(times) * 1000)


if __name__ == "__main__":
    work(Direct(sys.argv[1]).p50)
