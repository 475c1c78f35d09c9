"""The server one would write first, as in tutorials: the baseline for the others.

A synchronous grpcio server with a pool of threads; each call unpacks its tensors with TensorFlow's own helpers, calls
the SavedModel's signature eagerly, alone, and packs the result. Usage: straightforward_server.py FOLDER PORT
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

THREADS = 8


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, for one model."""

    def __init__(self, folder: str) -> None:
        self._model = tf.saved_model.load(folder)

    def Predict(  # noqa: N802 - gRPC's name
        self, request: predict_pb2.PredictRequest, _context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Run the requested signature."""
        signature = self._model.signatures[request.model_spec.signature_name or "serving_default"]
        inputs = {alias: tf.constant(tf.make_ndarray(tensor)) for alias, tensor in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        for alias, tensor in signature(**inputs).items():
            response.outputs[alias].CopyFrom(tf.make_tensor_proto(tensor.numpy()))
        return response


def main(folder: str, port: str) -> None:
    """Serve until killed."""
    server = grpc.server(ThreadPoolExecutor(THREADS))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(folder), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
