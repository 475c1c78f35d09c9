"""The ASGI application of the REST API: host check, bounds on bodies, memory and time, gzip, errors as JSON.

No body is decoded before its size has been checked, and clients see no traceback.
"""

import asyncio
import gzip
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any

import grpc
import orjson

from tensor_serving.embedded.errors import ServingError, deadline_exceeded
from tensor_serving.embedded.metrics import Metrics
from tensor_serving.embedded.repository import Repository
from tensor_serving.embedded.rest.bodies import MAX_BYTES, TooLargeError
from tensor_serving.embedded.rest.routes import LARGE, Routes
from tensor_serving.hosts import Hosts

log = logging.getLogger(__name__)

_MAX_HELD_BYTES = 4 * MAX_BYTES  # bytes of all large bodies in memory at one time
_MIN_GZIP_BYTES = 1024  # of an answer that is compressed
_NO_GZIP = re.compile(rb"\s*gzip\s*;\s*q\s*=\s*0(\.0*)?\s*")

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]

_CODE = grpc.StatusCode
_STATUS = {
    _CODE.CANCELLED: 499,
    _CODE.INVALID_ARGUMENT: 400,
    _CODE.FAILED_PRECONDITION: 400,
    _CODE.OUT_OF_RANGE: 400,
    _CODE.UNAUTHENTICATED: 401,
    _CODE.PERMISSION_DENIED: 403,
    _CODE.NOT_FOUND: 404,
    _CODE.ALREADY_EXISTS: 409,
    _CODE.ABORTED: 409,
    _CODE.RESOURCE_EXHAUSTED: 429,
    _CODE.UNIMPLEMENTED: 501,
    _CODE.UNAVAILABLE: 503,
    _CODE.DEADLINE_EXCEEDED: 504,
}


class _RefusedError(Exception):
    """A request that is refused before it is parsed, with the HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class App:
    """The application. `metrics_path` is where metrics are served, None for nowhere.

    A request may take `timeout` seconds from its last byte on; a pause between two parts of its body may take as long.
    """

    def __init__(self, repository: Repository, metrics: Metrics, timeout: float, metrics_path: str | None) -> None:
        self._routes, self._metrics = Routes(repository, metrics), metrics
        self._metrics_path = metrics_path
        self._hosts = Hosts.from_environment()
        self.timeout, self.held = timeout, 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        """See ASGI 3."""
        headers = dict(scope["headers"])
        status, kind = 200, b"application/json"
        try:
            self._check_origin(headers)
            with _Limits(self) as limits:
                if scope["path"] == self._metrics_path:
                    kind, answer = b"text/plain", self._metrics.text().encode()
                else:
                    answer = await self._answer(scope, headers, receive, limits)
        except _RefusedError as refusal:
            status, answer = refusal.status, _error(refusal.text)
        except TooLargeError as error:
            status, answer = 413, _error(str(error))
        except ServingError as error:
            status, answer = _STATUS.get(error.code, 500), _error(error.text)
        except Exception:
            log.exception("unexpected error in %s %.200r", scope["method"], scope["path"])
            status, answer = 500, _error("internal error; the server's log has the details")
        sent = [(b"content-type", kind)]
        if len(answer) >= _MIN_GZIP_BYTES and _takes_gzip(headers.get(b"accept-encoding", b"")):
            sent += [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]
            answer = await _zip(answer)
        sent.append((b"content-length", b"%d" % len(answer)))
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": answer})

    def _check_origin(self, headers: dict[bytes, bytes]) -> None:
        """Raise _RefusedError for a request that a foreign web page may have sent."""
        names = (b"host", b"origin", b"sec-fetch-site")
        if refusal := self._hosts.refusal(*(headers.get(name, b"").decode("latin-1") for name in names)):
            raise _RefusedError(refusal.status, refusal.message)

    async def _answer(
        self, scope: MutableMapping[str, Any], headers: dict[bytes, bytes], receive: _Receive, limits: "_Limits"
    ) -> bytes:
        path = scope["raw_path"].decode("latin-1")
        if path[:4].lower() != "/v1/":  # not JSON in TF Serving, whose HTTP library answers this
            raise _RefusedError(404, f"Not found: {path[:1024]}. The API is under /v1/models/.")
        if scope["query_string"]:
            path = f"{path}?{scope['query_string'].decode('latin-1')}"
        body = await _body(headers, receive, limits)
        zipped = b"gzip" in headers.get(b"content-encoding", b"")
        limits.running = True
        return await self._routes.answer(scope["method"], path, body, zipped)


class _Limits:
    """The time and the memory one request may take. Entered by the task that handles it."""

    def __init__(self, app: App) -> None:
        self._app, self._bytes, self._over = app, 0, False
        self.running = False  # the body is complete

    def __enter__(self) -> "_Limits":
        task = asyncio.current_task()
        assert task is not None
        self._task, self._loop = task, asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._app.timeout, self._expire)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._app.held -= self._bytes
        if self._over and kind is asyncio.CancelledError:
            if hasattr(self._task, "uncancel"):  # Python 3.11
                self._task.uncancel()
            if self.running:
                raise deadline_exceeded("Timed out waiting for notification") from error
            raise _RefusedError(
                408, f"no data received for {self._app.timeout:g} s, and the body is not complete"
            ) from error

    def received(self, size: int) -> None:
        """Count one of several parts of a body, and restart the timer. Raises TooLargeError, _RefusedError."""
        self._bytes += size
        self._app.held += size
        if self._bytes > MAX_BYTES:
            raise TooLargeError
        if self._app.held > _MAX_HELD_BYTES:
            text = f"more than {_MAX_HELD_BYTES} bytes of requests are being processed; try again later"
            raise _RefusedError(503, text)
        self._timer.cancel()
        self._timer = self._loop.call_later(self._app.timeout, self._expire)

    def _expire(self) -> None:
        self._over = True
        self._task.cancel()


async def _body(headers: dict[bytes, bytes], receive: _Receive, limits: _Limits) -> bytes:
    """Return the whole body. Raises TooLargeError, _RefusedError."""
    if int(headers.get(b"content-length", b"0")) > MAX_BYTES:  # the HTTP parser has checked that it is a number
        raise TooLargeError
    message = await receive()
    if message["type"] == "http.request" and not message["more_body"]:
        return bytes(message["body"])
    chunks = []
    while message["type"] == "http.request":
        chunks.append(message["body"])
        limits.received(len(message["body"]))
        if not message["more_body"]:
            return b"".join(chunks)
        message = await receive()
    raise _RefusedError(400, "the connection ended before the body did")


def _error(text: str) -> bytes:
    return orjson.dumps({"error": text.encode(errors="replace").decode()})


def _takes_gzip(accepted: bytes) -> bool:
    return b"gzip" in accepted and not any(map(_NO_GZIP.fullmatch, accepted.split(b",")))


async def _zip(answer: bytes) -> bytes:
    if len(answer) < LARGE:
        return gzip.compress(answer, compresslevel=1, mtime=0)
    return await asyncio.get_running_loop().run_in_executor(None, gzip.compress, answer, 1)
