"""The gRPC door of the two services. It translates, nothing else; gRPC answers UNIMPLEMENTED for methods not listed."""

import logging
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

from tensor_serving.embedded.errors import ServingError, invalid
from tensor_serving.embedded.predict import predict
from tensor_serving.embedded.repository import Repository

log = logging.getLogger(__name__)


class Servicers:
    """The methods, each a request in and a response out; they raise ServingError."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return what a gRPC server needs to serve them."""
        services: dict[str, dict[str, tuple[Callable[[Any], Message], type[Message]]]] = {
            "tensorflow.serving.PredictionService": {
                "Predict": (self.predict, predict_pb2.PredictRequest),
                "GetModelMetadata": (self.get_model_metadata, get_model_metadata_pb2.GetModelMetadataRequest),
            },
            "tensorflow.serving.ModelService": {
                "GetModelStatus": (self.get_model_status, get_model_status_pb2.GetModelStatusRequest),
            },
        }
        return [
            grpc.method_handlers_generic_handler(
                service,
                {name: grpc.unary_unary_rpc_method_handler(_door(*method)) for name, method in methods.items()},
            )
            for service, methods in services.items()
        ]

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """PredictionService.Predict."""
        name, version, label = _wanted(request)
        with self._repository.use(name, version, label) as (found, model):
            response = predict(model, request)
        response.model_spec.name = name
        response.model_spec.version.value = found
        return response

    def get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """PredictionService.GetModelMetadata: the signatures, the one field there is."""
        spec = request.model_spec if request.HasField("model_spec") else None
        if spec and not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for metadata_field in request.metadata_field if spec else ():
            if metadata_field != "signature_def":
                raise invalid(f"Metadata field {metadata_field} is not supported")
        name, version, label = _wanted(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        with self._repository.use(name, version, label) as (found, model):
            for key, signature in model.signatures.items():
                signatures.signature_def[key].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = name
        response.model_spec.version.value = found
        response.metadata["signature_def"].Pack(signatures)
        return response

    def get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """ModelService.GetModelStatus: every version known, also the failed ones with their reason."""
        name, version, label = _wanted(request, nameless=True)
        response = get_model_status_pb2.GetModelStatusResponse()
        for servable in self._repository.status(name, version, label):
            error = servable.error
            status = response.model_version_status.add(version=servable.version, state=int(servable.state))
            status.status.error_code = error.code.value[0] if error else 0
            status.status.error_message = error.text if error else ""
        return response


def _wanted(request: Any, nameless: bool = False) -> tuple[str, int | None, str | None]:
    """Return name, version and label a request is for; version and label are None unless given."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec: model_pb2.ModelSpec = request.model_spec
    if not (spec.name or nameless):
        raise invalid("ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    return (
        spec.name,
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


def _door(method: Callable[[Any], Message], request_class: type[Message]) -> Callable[[bytes, Any], bytes]:
    """Return the method on bytes. The one place that turns an exception into a status; no traceback passes it."""

    def handle(data: bytes, context: grpc.ServicerContext) -> bytes:
        if not context.is_active():  # the client gave up while this waited for a thread
            return b""
        try:
            return method(request_class.FromString(data)).SerializeToString()
        except ServingError as error:
            code, text = error.code, error.text
        except DecodeError:
            code, text = grpc.StatusCode.INTERNAL, f"the request is no {request_class.DESCRIPTOR.full_name}"
        except Exception:
            log.exception("unexpected error in %s", request_class.DESCRIPTOR.full_name)
            code, text = grpc.StatusCode.INTERNAL, "internal error; the server's log has the details"
        context.abort(code, text)
        raise AssertionError("abort() returned")

    return handle
