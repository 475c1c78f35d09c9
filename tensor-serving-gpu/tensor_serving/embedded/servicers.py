"""The gRPC service handlers on the event loop. They only translate; gRPC answers UNIMPLEMENTED for methods not listed.

Handlers take and return bytes, and one place turns an exception into a status. When a call is cancelled or its deadline
passes, its handler is cancelled as well, and the call is removed from the queue it waits in.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from tensor_serving.embedded import classify, inference, predict, regress
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.direct import Tokens, metadata_value
from tensor_serving.embedded.errors import ServingError, deadline_exceeded, invalid
from tensor_serving.embedded.health import Health
from tensor_serving.embedded.metrics import Metrics
from tensor_serving.embedded.repository import Repository
from tensor_serving.embedded.tensors import Array

log = logging.getLogger(__name__)

Reload = Callable[[model_server_config_pb2.ModelConfigList], Awaitable[None]]
_Method = Callable[[Any, Any], Awaitable[Any]]
_Handler = Callable[[bytes, Any], Awaitable[bytes]]
_MAX_TEXT_CHARS = 1024  # characters of a status' text; TF Serving truncates there as well


@dataclass(frozen=True)
class _Inference:
    """One of the methods that run a graph: its name, request class and translation."""

    api: str
    request_class: type[Message]
    prepare: Callable[[predict.Signatures, Any], Call]
    answer: Callable[[predict.Signatures, Any, Call, Sequence[Array]], Any]


_PREDICT = _Inference("Predict", predict_pb2.PredictRequest, predict.prepare, predict.answer)
_CLASSIFY = _Inference("Classify", classification_pb2.ClassificationRequest, classify.prepare, classify.answer)
_REGRESS = _Inference("Regress", regression_pb2.RegressionRequest, regress.prepare, regress.answer)
_MULTIPLE = _Inference("MultiInference", inference_pb2.MultiInferenceRequest, inference.prepare, inference.answer)
_INFERENCES = (_PREDICT, _CLASSIFY, _REGRESS, _MULTIPLE)


class Servicers:
    """The methods of TensorFlow Serving's two services and of the health service.

    `reload` applies a list of models, waits for the new ones, and raises ServingError if they cannot be loaded.
    `crashing_request` is the id of the request that crashed the previous process: when retried, its call is refused.
    """

    def __init__(self, repository: Repository, reload: Reload, metrics: Metrics, crashing_request: str = "") -> None:
        self._repository, self._reload, self._metrics = repository, reload, metrics
        self._crashing_request = crashing_request
        self.health = Health(repository)

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return the handlers for a grpc.aio server."""
        models = {
            "GetModelStatus": _handler(self._get_model_status, get_model_status_pb2.GetModelStatusRequest),
            "HandleReloadConfigRequest": _handler(self._reload_config, model_management_pb2.ReloadConfigRequest),
        }
        return [self._predictions(None), _service("tensorflow.serving.ModelService", models), self.health.handler()]

    def handlers_for_tokens(self, tokens: Tokens) -> list[grpc.GenericRpcHandler]:
        """Return handlers for predictions only; each call needs a token for its model."""
        return [self._predictions(tokens)]

    def _predictions(self, tokens: Tokens | None) -> grpc.GenericRpcHandler:
        methods: dict[str, tuple[_Method, type[Message]]] = {
            kind.api: (partial(self._infer, kind), kind.request_class) for kind in _INFERENCES
        }
        methods["GetModelMetadata"] = self._get_model_metadata, get_model_metadata_pb2.GetModelMetadataRequest
        return _service(
            "tensorflow.serving.PredictionService",
            {name: _handler(_checked(method, tokens), request) for name, (method, request) in methods.items()},
        )

    async def _infer(self, kind: _Inference, request: Any, context: Any) -> Any:
        """Handle Predict, Classify, Regress and MultiInference; count each call, whatever its outcome."""
        started, code, name = perf_counter(), "CANCELLED", ""
        try:
            name, version, label = _wanted(_first_task(request) if kind is _MULTIPLE else request)
            if self._crashing_request:
                self._refuse_crashing_request(context)
            await self._repository.wait_until_loaded(name, version, label)
            with self._repository.held(name, version, label) as (found, runner):
                call = kind.prepare(runner.signatures, request)
                if context.time_remaining() == 0:  # None without a deadline
                    raise deadline_exceeded("Deadline Exceeded")
                call.request_id = metadata_value(context, "x-request-id")
                running = perf_counter()
                outputs = await runner.run(call)
                self._metrics.runtime(name, kind.api, perf_counter() - running)
                response = kind.answer(runner.signatures, request, call, outputs)
            for named in response.results if kind is _MULTIPLE else (response,):
                named.model_spec.name = name
                named.model_spec.version.value = found
            code = "OK"
            return response
        except ServingError as error:
            code = error.code.name
            raise
        except Exception:
            code = "INTERNAL"
            raise
        finally:
            self._metrics.request(name, kind.api, "GRPC", code, perf_counter() - started)

    def _refuse_crashing_request(self, context: Any) -> None:
        """Raise ServingError for a retry of the call that crashed the previous process.

        Only a call marked as a retry can be that one: clients may give all their calls the same id.
        """
        is_it = metadata_value(context, "x-request-id") == self._crashing_request
        if is_it and metadata_value(context, "x-previous-attempts"):
            raise ServingError(grpc.StatusCode.DATA_LOSS, "this call crashed the model server: it is not run again")

    async def _get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, _context: Any
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Handle GetModelMetadata: return the signatures, the only metadata field that is supported."""
        spec = request.model_spec if request.HasField("model_spec") else None
        if spec and not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for metadata_field in request.metadata_field if spec else ():
            if metadata_field != "signature_def":
                # TF Serving's text has an unfilled %s in place of the field's name.
                raise invalid(f"Metadata field {metadata_field} is not supported")
        name, version, label = _wanted(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        await self._repository.wait_until_loaded(name, version, label)
        with self._repository.held(name, version, label) as (found, runner):
            for key, signature in runner.signatures.items():
                signatures.signature_def[key].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = name
        response.model_spec.version.value = found
        response.metadata["signature_def"].Pack(signatures)
        return response

    async def _get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest, _context: Any
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Handle GetModelStatus: return every known version, failed ones with the reason."""
        name, version, label = _wanted(request, nameless=True)
        response = get_model_status_pb2.GetModelStatusResponse()
        await self._repository.wait_until_loaded()
        for servable in self._repository.status(name, version, label):
            error = servable.error
            status = response.model_version_status.add(version=servable.version, state=int(servable.state))
            status.status.error_code = error.code.value[0] if error else 0
            status.status.error_message = error.text if error else ""
        return response

    async def _reload_config(
        self, request: model_management_pb2.ReloadConfigRequest, _context: Any
    ) -> model_management_pb2.ReloadConfigResponse:
        """Handle HandleReloadConfigRequest. An error is returned as the call's status, as in TF Serving."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        await self._reload(request.config.model_config_list)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()  # present, and OK
        return response


def _checked(method: _Method, tokens: Tokens | None) -> _Method:
    """Return the method with a check of the caller's token for its model; unchanged if `tokens` is None."""
    if tokens is None:
        return method

    async def checked(request: Any, context: Any) -> Any:
        task = _first_task(request) if isinstance(request, inference_pb2.MultiInferenceRequest) else request
        tokens.check(metadata_value(context, "authorization"), task.model_spec.name)
        return await method(request, context)

    return checked


def _first_task(request: inference_pb2.MultiInferenceRequest) -> Any:
    """Return a task with the model spec of the first one, which must name the model; the others must not differ."""
    spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
    return inference_pb2.InferenceTask(model_spec=spec)


def _wanted(request: Any, nameless: bool = False) -> tuple[str, int | None, str | None]:
    """Return the name, version and label that a request names; version and label are None unless given."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec: model_pb2.ModelSpec = request.model_spec
    name = spec.name
    if not (name or nameless):
        raise invalid("ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    return (
        name,
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


def _service(name: str, handlers_by_method: Mapping[str, _Handler]) -> grpc.GenericRpcHandler:
    handlers = {method: grpc.unary_unary_rpc_method_handler(handler) for method, handler in handlers_by_method.items()}
    return grpc.method_handlers_generic_handler(name, handlers)


def _handler(method: _Method, request_class: type[Message]) -> _Handler:
    """Return the method on bytes. The only place that turns an exception into a status; clients see no traceback."""
    parse = request_class.FromString

    async def handle(data: bytes, context: Any) -> bytes:
        try:
            response = await method(parse(data), context)
            return bytes(response.SerializeToString())
        except ServingError as error:
            code, text = error.code, error.text
        except DecodeError:
            code, text = grpc.StatusCode.INTERNAL, f"the request is not a {request_class.DESCRIPTOR.full_name}"
        except Exception:
            log.exception("unexpected error in %s", request_class.DESCRIPTOR.full_name)
            code, text = grpc.StatusCode.INTERNAL, "internal error; the server's log has the details"
        await context.abort(code, text if len(text) <= _MAX_TEXT_CHARS else f"{text[:_MAX_TEXT_CHARS]}...TRUNCATED")
        raise AssertionError("abort() returned")

    return handle
