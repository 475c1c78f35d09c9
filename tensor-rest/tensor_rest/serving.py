"""The client of the model server: TensorFlow Serving's gRPC calls over one long-lived channel per process."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import numpy as np
from google.protobuf.message import DecodeError, Message

from .errors import BadGatewayError, from_grpc
from .wire import serving_pb2 as pb
from .wire.tensors import WireError, from_tensor, to_tensor

Answer = TypeVar("Answer", bound=Message)

_PREDICTION = "/tensorflow.serving.PredictionService/"
_MODEL = "/tensorflow.serving.ModelService/"

_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    # After a restart of serving the channel must be back at once: gRPC's own pauses grow to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),  # the model server is a neighbour, whatever http_proxy says
]


@dataclass(frozen=True)
class Prediction:
    """What a Predict call answered: the version that computed it and its outputs by alias."""

    version: int
    outputs: Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class VersionState:
    """One version as the server sees it; `state` is a word of ModelVersionStatus.State, `error` is empty when well."""

    version: int
    state: str
    error: str


class ModelServer:
    """Calls to the server at `address`, each with a deadline of `timeout` seconds.

    A call that fails raises the ApiError of errors.GRPC_ERRORS, one with an unreadable answer BadGatewayError.
    """

    def __init__(self, address: str, timeout: float) -> None:
        self.address = address
        self._timeout = timeout
        self._channel: grpc.Channel | None = None
        self._lock = threading.Lock()

    def predict(
        self,
        model: str,
        inputs: Mapping[str, np.ndarray[Any, Any]],
        *,
        version: int | None = None,
        signature: str = "serving_default",
        outputs: Sequence[str] = (),
    ) -> Prediction:
        """Run a signature of a version (None: the newest) on `inputs`; `outputs` limits what is sent back."""
        request = pb.PredictRequest(model_spec=_spec(model, version, signature), output_filter=outputs)
        for alias, array in inputs.items():
            request.inputs[alias].CopyFrom(to_tensor(array))
        answer = self._call(_PREDICTION + "Predict", request, pb.PredictResponse)
        try:
            arrays = {alias: from_tensor(tensor) for alias, tensor in answer.outputs.items()}
        except WireError as error:
            raise BadGatewayError(f"Model {model!r} answered a tensor that cannot be read: {error}") from error
        return Prediction(answer.model_spec.version.value, arrays)

    def signatures(self, model: str, version: int | None = None) -> tuple[int, dict[str, pb.SignatureDef]]:
        """The version that was asked (None: the newest) and its signatures by name."""
        request = pb.GetModelMetadataRequest(model_spec=_spec(model, version), metadata_field=["signature_def"])
        answer = self._call(_PREDICTION + "GetModelMetadata", request, pb.GetModelMetadataResponse)
        try:  # an Any names TensorFlow's message; ours has other names and the same bytes
            signatures = pb.SignatureDefMap.FromString(answer.metadata["signature_def"].value)
        except DecodeError as error:
            raise BadGatewayError(f"The signatures of model {model!r} cannot be read: {error}") from error
        return answer.model_spec.version.value, dict(signatures.signature_def)

    def status(self, model: str) -> list[VersionState]:
        """Every version the server knows of, ascending, with its state. Raises NotFoundError for an unknown model."""
        request = pb.GetModelStatusRequest(model_spec=_spec(model))
        answer = self._call(_MODEL + "GetModelStatus", request, pb.GetModelStatusResponse)
        versions = sorted(answer.model_version_status, key=lambda status: status.version)
        return [
            VersionState(v.version, pb.ModelVersionStatus.State.Name(v.state), v.status.error_message) for v in versions
        ]

    def _call(self, path: str, request: Message, answer: type[Answer]) -> Answer:
        method = self._connected().unary_unary(
            path, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
        )
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise from_grpc(error, self.address) from error

    def _connected(self) -> grpc.Channel:
        """The process's channel, made at the first call: gRPC's threads do not survive uWSGI's fork."""
        with self._lock:
            if self._channel is None:
                self._channel = grpc.insecure_channel(self.address, options=_CHANNEL_OPTIONS)
            return self._channel


def _spec(model: str, version: int | None = None, signature: str = "") -> pb.ModelSpec:
    spec = pb.ModelSpec(name=model, signature_name=signature)
    if version is not None:
        spec.version.value = version
    return spec
