"""The standard health service, grpc.health.v1, for load balancers and orchestrators.

The service "" and the names of the two TensorFlow Serving services stand for the server; any other name is a model. A
model is SERVING while a version of it is available, NOT_SERVING when none is, unknown when there is no such model.
While the server drains everything is NOT_SERVING, so that clients switch to another server before calls are refused.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped]

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.repository import Repository
from tensor_serving.embedded.servable import State

SERVICE = "grpc.health.v1.Health"
_WATCH_INTERVAL_S = 0.5  # between two status checks for a watcher
_DRAIN_TIMEOUT_S = 1.0  # seconds that watchers get to read the last status
_SERVER = ("", SERVICE, "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")

_Response = health_pb2.HealthCheckResponse


class Health:
    """Check and Watch, bytes in and bytes out. For use on the event loop only."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._drained = asyncio.get_running_loop().create_future()
        self._watchers = 0

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler for a gRPC server."""
        methods = {
            "Check": grpc.unary_unary_rpc_method_handler(self._check),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def drain(self) -> "asyncio.Task[None]":
        """Answer NOT_SERVING and end the watchers' streams; the returned task ends when they have ended."""
        self._drained.set_result(None)
        return asyncio.ensure_future(self._wait_for_watchers())

    async def _wait_for_watchers(self) -> None:
        deadline = time.monotonic() + _DRAIN_TIMEOUT_S
        while self._watchers and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    async def _check(self, data: bytes, context: Any) -> bytes:
        status = self._status(await _service(data, context))
        if status == _Response.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return bytes(_Response(status=status).SerializeToString())

    async def _watch(self, data: bytes, context: Any) -> AsyncIterator[bytes]:
        service = await _service(data, context)
        last = None
        self._watchers += 1
        try:
            while True:
                draining = self._drained.done()
                if (status := self._status(service)) != last:
                    last = status
                    yield bytes(_Response(status=status).SerializeToString())
                if draining:
                    return
                await asyncio.wait({self._drained}, timeout=_WATCH_INTERVAL_S)
        finally:
            self._watchers -= 1

    def _status(self, service: str) -> int:
        if self._drained.done():
            return int(_Response.NOT_SERVING)
        if service in _SERVER:
            return int(_Response.SERVING)
        try:
            versions = self._repository.status(service)
        except ServingError:
            return int(_Response.SERVICE_UNKNOWN)
        available = any(version.state is State.AVAILABLE for version in versions)
        return int(_Response.SERVING if available else _Response.NOT_SERVING)


async def _service(data: bytes, context: Any) -> str:
    try:
        return str(health_pb2.HealthCheckRequest.FromString(data).service)
    except DecodeError:
        await context.abort(grpc.StatusCode.INTERNAL, "the request is not a grpc.health.v1.HealthCheckRequest")
        raise AssertionError("abort() returned") from None
