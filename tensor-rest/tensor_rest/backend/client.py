"""Calls to the model server, with inputs and outputs as NumPy arrays."""

import itertools
import ssl
import time
from collections.abc import Iterable, Sequence
from concurrent import futures
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from tensor_rest.backend.addresses import Addresses
from tensor_rest.backend.batching import Batcher, Inputs, Prediction, SignatureRef, row_bytes
from tensor_rest.backend.channel import Channel
from tensor_rest.backend.circuit_breaker import CircuitBreaker
from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.backend.repeats import RepeatLock
from tensor_rest.backend.retry import Calls, Route, SharedCallLostError
from tensor_rest.backend.rows import Rows, Setting
from tensor_rest.backend.tensors import MAX_BYTES, TypeNotSupportedError, WireError, from_tensor, write
from tensor_rest.errors import BadGatewayError, BadRequestError, DeadlineError
from tensor_rest.observability import metrics
from tensor_rest.runtime import request_context

Answer = TypeVar("Answer", bound=Message)

_PREDICTION = "/tensorflow.serving.PredictionService/"
_MODEL = "/tensorflow.serving.ModelService/"
_BATCH_BYTES = 16 << 20  # of inputs in one call that several callers share
_PARTS = 4  # of large requests in flight at once
_LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Limits:
    """Limits of the client, documented in Settings."""

    grace: float = 10.0  # seconds the server may be unavailable before calls are refused at once
    calls: int = 32  # in flight at once in this process after an outage; more stay queued
    message_bytes: int = 64 << 20
    batch_rows: int = 32  # of one call
    batch_calls: int = 1  # in flight at once for rows that could share one
    repeat_lock: Path | None = None  # a file that all workers share


@dataclass(frozen=True)
class VersionState:
    """One version as the server reports it; `state` is a ModelVersionStatus.State by name, `error` may be empty."""

    version: int
    state: str
    error: str


class ModelServer:
    """Client of the server at `address`; of several servers `route` selects those to call. `tls`: the context for TLS.

    All calls for one request end within `timeout` seconds, or within the limit its client set.
    A call that fails raises the ApiError of grpc_errors.GRPC_ERRORS, one with an unreadable answer BadGatewayError.
    While the model server is unavailable calls wait for it, up to `Limits.grace`; after that UnavailableError is raised
    at once.
    """

    def __init__(
        self,
        address: str | Addresses,
        timeout: float,
        limits: Limits | None = None,
        setting: Setting = lambda _: None,
        route: Route = lambda *_: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        limits = limits or Limits()
        self._timeout = timeout
        self._max_bytes = max(MAX_BYTES, limits.message_bytes)  # of an array in an answer
        channel = Channel(address, limits.message_bytes, tls)
        self.address = channel.address
        self._breaker = CircuitBreaker(limits.grace, limits.calls, channel.reach)
        self._calls = Calls(channel, self._breaker, RepeatLock(limits.repeat_lock), route)
        self._rows = Rows(setting)
        independent = self._rows.are_independent
        self._batcher = Batcher(self._run, limits.batch_rows, _BATCH_BYTES, limits.batch_calls, independent)
        self._parts = futures.ThreadPoolExecutor(_PARTS, "parts")  # threads start with the first large request

    def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str = "serving_default",
        outputs: Sequence[str] = (),
        batch: bool = True,
        deadline: float | None = None,
    ) -> Prediction:
        """Run a signature of a version or label (neither: the newest) on `inputs`; `outputs` limits what is sent back.

        Rows are dimension 0. They share calls with other requests' rows, and many are split into several calls, where
        `batch` is true, the signature is known (`signatures` was called) to have open rows, and these are independent
        (the `setting` of the model, else `declare_independent`). All others are sent as one call. `deadline` is an
        instant of `time.monotonic`; None: that of the current request, else the timeout.
        """
        ref = SignatureRef(model, version, label, signature, tuple(outputs))
        by = request_context.current()
        deadline = deadline or by.deadline or time.monotonic() + self._timeout
        rows = self._rows.count(ref, inputs) if batch else 0
        if not self._breaker.closed:
            self._breaker.admit(inputs)
        with self._breaker:
            most = self._batcher.max_rows_of(row_bytes(inputs, rows)) if rows else 0
            if most == 0 or rows == most == 1:  # queueing calls that cannot be shared would only delay them
                return self._run(ref, inputs, deadline, [by.request_id])
            if rows > most:
                bounds = np.linspace(0, rows, -(-rows // most) + 1).astype(int)
                parts = ({a: v[i:j] for a, v in inputs.items()} for i, j in itertools.pairwise(bounds))
                return self._in_parts(ref, parts, deadline, by.request_id)
            try:
                return self._batcher.predict(ref, inputs, rows, deadline, by.request_id)
            except SharedCallLostError:
                return self._run(ref, inputs, deadline, [by.request_id], lost=True)

    def waiting(self) -> int:
        """How many calls arrived while the server was unavailable and have not ended."""
        return self._breaker.waiting

    def max_rows(self, row_bytes: int) -> int:
        """How many rows of so many bytes one call takes."""
        return self._batcher.max_rows_of(row_bytes)

    def predict_parts(
        self,
        model: str,
        parts: Iterable[Inputs],
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str = "serving_default",
        outputs: Sequence[str] = (),
    ) -> Prediction:
        """Like `predict`, for rows still being made: each part, of at most `max_rows`, is sent once it is made."""
        ref = SignatureRef(model, version, label, signature, tuple(outputs))
        by = request_context.current()
        deadline = by.deadline or time.monotonic() + self._timeout
        if not self._breaker.closed:
            self._breaker.admit()
        with self._breaker:
            parts = iter(parts)
            first = next(parts)
            if self._rows.count(ref, first):
                return self._in_parts(ref, itertools.chain((first,), parts), deadline, by.request_id)
            return self._run(ref, _joined([first, *parts]), deadline, [by.request_id])

    def signatures(
        self, model: str, version: int | None = None, label: str | None = None
    ) -> tuple[int, dict[str, pb.SignatureDef]]:
        """The version that the request names (neither version nor label: the newest) and its signatures by name."""
        request = pb.GetModelMetadataRequest(model_spec=_spec(model, version, label), metadata_field=["signature_def"])
        answer = self.call(_PREDICTION + "GetModelMetadata", request, pb.GetModelMetadataResponse, model, version)
        try:  # an Any names TensorFlow's message; ours has other names and the same bytes
            found = pb.SignatureDefMap.FromString(answer.metadata["signature_def"].value).signature_def
        except DecodeError as error:
            raise BadGatewayError(f"The signatures of model {model!r} cannot be read: {error}") from error
        number = answer.model_spec.version.value
        self._rows.learn(model, number, found)
        self._rows.answered(SignatureRef(model, version, label, "", ()), number)
        return number, dict(found)

    def declare_independent(self, model: str, version: int, independent: bool) -> None:
        """Set what the card of this version declares: whether the rows of all its signatures are independent."""
        self._rows.declare_independent(model, version, independent)

    def status(self, model: str) -> list[VersionState]:
        """Every version the server knows of, ascending, with its state. Raises NotFoundError for an unknown model.

        It does not wait while the server is unavailable.
        """
        request = pb.GetModelStatusRequest(model_spec=_spec(model))
        by = request_context.current()
        soon = time.monotonic() + min(self._timeout, _LOOK_SECONDS)
        deadline = min(by.deadline or soon, soon)
        answer = self._calls.call_once(
            _MODEL + "GetModelStatus", request.SerializeToString(), pb.GetModelStatusResponse, deadline, [by.request_id]
        )
        versions = sorted(answer.model_version_status, key=lambda status: status.version)
        return [
            VersionState(v.version, pb.ModelVersionStatus.State.Name(v.state), v.status.error_message) for v in versions
        ]

    def call(self, path: str, request: Message, answer: type[Answer], model: str, version: int | None = None) -> Answer:
        """Call any unary method about a `version` of `model`, by its gRPC path (/package.Service/Method), for the
        current request."""
        by = request_context.current()
        deadline = by.deadline or time.monotonic() + self._timeout
        if not self._breaker.closed:
            self._breaker.admit()
        with self._breaker:
            return self._calls.call(
                path, request.SerializeToString(), answer, deadline, [by.request_id], model, version
            )

    def _run(
        self, ref: SignatureRef, inputs: Inputs, deadline: float, ids: Sequence[str], lost: bool = False
    ) -> Prediction:
        """Make one Predict call; `lost`: it repeats, for one request, a shared call that was lost."""
        request = pb.PredictRequest()
        for alias, array in inputs.items():
            write(array, request.inputs[alias])
        started = time.monotonic()
        message = _head(ref) + request.SerializeToString()  # serialized messages can be concatenated
        path = _PREDICTION + "Predict"
        answer = self._calls.call(path, message, pb.PredictResponse, deadline, ids, ref.model, ref.version, lost)
        seconds = time.monotonic() - started
        arrays = {alias: _array(ref, alias, answer.outputs[alias], self._max_bytes) for alias in answer.outputs}
        version = answer.model_spec.version.value
        self._rows.answered(ref, version)
        metrics.batch(ref.model, max(len(array) if array.ndim else 1 for array in inputs.values()) if inputs else 0)
        return Prediction(version, arrays, ref.signature, 0.0, seconds)

    def _in_parts(self, ref: SignatureRef, parts: Iterable[Inputs], deadline: float, request_id: str) -> Prediction:
        """Send many rows in several calls, some in parallel. All parts are answered by the same version."""
        started, sent, answers = time.monotonic(), [], []
        calls: list[futures.Future[Prediction]] = []
        try:
            for part in parts:
                sent.append(part)
                calls.append(self._parts.submit(self._run, ref, part, deadline, [request_id]))
                time.sleep(0)  # so that it is sent before the next part is made
            while calls:  # popped: a failed call refers to its error, and the error's traceback to this frame
                answers.append(calls.pop(0).result(max(0.0, deadline - time.monotonic())))
        except futures.TimeoutError as error:  # still queued behind the parts of other requests
            raise DeadlineError("The model server did not answer in time.") from error
        finally:  # after a failure the others are not sent
            for call in calls:
                call.cancel()
        newest = max(answer.version for answer in answers)
        if any(answer.version != newest for answer in answers):  # the version changed meanwhile
            ref = ref._replace(version=newest, label=None)
            if self._rows.are_independent(ref, newest):
                return self._in_parts(ref, sent, deadline, request_id)
        if not self._rows.are_independent(ref, newest):
            return self._run(ref, _joined(sent), deadline, [request_id])
        outputs = {alias: np.concatenate([answer.outputs[alias] for answer in answers]) for alias in answers[0].outputs}
        return answers[0]._replace(outputs=outputs, model_seconds=time.monotonic() - started)


def _array(ref: SignatureRef, alias: str, tensor: pb.TensorProto, max_bytes: int) -> np.ndarray[Any, Any]:
    try:
        return from_tensor(tensor, max_bytes)
    except TypeNotSupportedError as error:
        raise BadRequestError(
            f"Output {alias!r} of model {ref.model!r} cannot be read: {error} Leave it out with outputs=."
        ) from error
    except WireError as error:
        text = f"Model {ref.model!r} answered a tensor {alias!r} that cannot be read: {error}"
        raise BadGatewayError(text) from error


def _joined(parts: Sequence[Inputs]) -> Inputs:
    return {alias: np.concatenate([part[alias] for part in parts]) for alias in parts[0]}


@lru_cache(256)
def _head(ref: SignatureRef) -> bytes:
    """A PredictRequest without its inputs."""
    spec = _spec(ref.model, ref.version, ref.label, ref.signature)
    return pb.PredictRequest(model_spec=spec, output_filter=ref.outputs).SerializeToString()


def _spec(model: str, version: int | None = None, label: str | None = None, signature: str = "") -> pb.ModelSpec:
    spec = pb.ModelSpec(name=model, signature_name=signature)
    if version is not None:
        spec.version.value = version
    elif label is not None:
        spec.version_label = label
    return spec
