"""gRPC from a notebook: TensorFlow Serving's own PredictionService, at the model server's port.

stub = prediction_stub()
request = PredictRequest(model_spec={"name": "clothes"})
request.inputs["images"].CopyFrom(make_tensor_proto(images))
answer = stub.Predict(request, timeout=10)
make_ndarray(answer.outputs["scores"])
"""

import functools

import grpc
from tensorflow import make_ndarray, make_tensor_proto
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from tensor_jupyter import home
from tensor_jupyter.errors import LabError

__all__ = ["PredictRequest", "PredictionServiceStub", "make_ndarray", "make_tensor_proto", "prediction_stub"]

_DEFAULT = "127.0.0.1:9000"
_SECONDS = 10.0  # for the server to accept the connection
_MAX_MESSAGE = 64 * 2**20  # bytes; gRPC's default limit for responses is 4 MiB


def prediction_stub(address: str = "") -> PredictionServiceStub:
    """The model server's PredictionService, over a cached channel.

    address: host:port; else TF_SERVER_HOST_PORT, which the running lab sets, or the port of the lab that is found.
    Raises LabError when nothing accepts a connection there.
    """
    address = address or home.environment().get("TF_SERVER_HOST_PORT") or _DEFAULT
    channel = _channel(address)
    try:
        grpc.channel_ready_future(channel).result(timeout=_SECONDS)
    except grpc.FutureTimeoutError as error:
        raise LabError(
            f"No model server answers gRPC at {address}: start the lab with ./bin/compose.sh up, or set "
            "TF_SERVER_HOST_PORT to where one runs."
        ) from error
    return PredictionServiceStub(channel)


@functools.cache
def _channel(address: str) -> grpc.Channel:
    options = [("grpc.max_receive_message_length", _MAX_MESSAGE), ("grpc.max_send_message_length", _MAX_MESSAGE)]
    return grpc.insecure_channel(address, options)
