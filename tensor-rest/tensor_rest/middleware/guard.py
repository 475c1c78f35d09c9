"""WSGI middleware for all routes: checks every request, and adds headers and metrics to every response.

It is in front of Flask, so it also covers what answers without Flask (api/fast_path.py).
"""

import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tensor_rest.middleware import api_keys, body, deadline
from tensor_rest.middleware.admission import Admission
from tensor_rest.middleware.error_reply import error_reply
from tensor_rest.middleware.hosts_cors import Browser
from tensor_rest.observability import metrics
from tensor_rest.payloads import body_memory
from tensor_rest.payloads.body_memory import BodyMemory, Reservation
from tensor_rest.runtime import request_context, request_id
from tensor_rest.runtime.headers import KEY_NAME, MODEL, POLICY, PROBES, SECURITY, VERSION
from tensor_rest.runtime.reply import Reply
from tensor_rest.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]
_Write = Callable[[bytes], object]  # defined here: annotations of a nested function are evaluated at each request

REQUESTED_MODEL = "tensor_rest.model"
"""Key in the WSGI environment: the model that a request names, for the metrics of responses that name none."""

_POLICY = (POLICY, SECURITY[POLICY])
_SECURITY = [(name, value) for name, value in SECURITY.items() if name != POLICY]


class Guard:
    """The middleware around a WSGI application. One per process."""

    def __init__(
        self, application: "WSGIApplication", settings: Settings, waiting: Callable[[], int] = lambda: 0
    ) -> None:
        self._application = application
        self._limit = settings.max_upload_bytes
        self._timeout_s = settings.timeout_seconds
        self._memory = BodyMemory(settings.body_memory_bytes // settings.processes)
        self._admission = Admission(settings.concurrency, waiting)
        self._browser = Browser(settings)
        self._keys = api_keys.Keys(settings.api_keys_file) if settings.api_keys_file else None
        self._alone = settings.front == "uwsgi"

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Pass the request to the application, or return an error."""
        visit = _Visit(environ, Reservation(self._memory))
        metrics.in_flight(1)

        def start(status: str, headers: Headers, *error: Any) -> _Write:
            return start_response(status, self._finished(visit, int(status[:3]), headers), *error)

        try:
            try:
                reply = self._enter(visit)
            except Exception as error:  # noqa: BLE001 - a refusal, or an unexpected error: answered in one form
                reply = error_reply(error, environ)
            return reply.send(environ, start) if reply else self._application(environ, start)
        finally:
            request_context.end()
            metrics.in_flight(-1)
            if visit.admission_number is not None:
                self._admission.leave(visit.admission_number)
            visit.memory.shrink()

    def _enter(self, visit: "_Visit") -> Reply | None:
        """Check the request. Returns the answer to a preflight request, else None; raises ApiError to refuse it."""
        environ = visit.environ
        environ[request_id.ENVIRON] = visit.request_id
        request_context.begin(visit.request_id, time.monotonic() + self._timeout_s, environ)  # refusals need it, too
        path = environ["PATH_INFO"]
        if path not in PROBES:
            arrived = environ.get("tensor_rest.arrived")
            visit.admission_number = self._admission.enter(float(arrived) if arrived else None)
            self._browser.check(environ)
            if preflight := self._browser.preflight(environ):
                return preflight
            if self._keys and not api_keys.is_open(path):
                visit.key_name = self._keys.check(environ)
            environ[body_memory.ENVIRON] = visit.memory
            body.receive(environ, visit.memory, self._limit)
            if visit.memory.size:  # the time to receive the body does not count
                visit.began = time.perf_counter()
                request_context.begin(visit.request_id, time.monotonic() + self._timeout_s, environ)
        deadline.begin(environ, self._timeout_s)
        return None

    def _finished(self, visit: "_Visit", status: int, headers: Headers) -> Headers:
        """Return a response's header fields, with those that every response has; count the response in the metrics."""
        environ, named = visit.environ, dict(headers)
        body.drain(environ, self._limit)
        model, version = named.get(MODEL, ""), named.get(VERSION, "")
        if not model:
            model = metrics.known(environ.get(REQUESTED_MODEL, ""))
        seconds = time.perf_counter() - visit.began
        metrics.observe(model, version, status, seconds)
        if self._alone:
            _log(visit, status, named, seconds)
        own = [] if POLICY in named else [_POLICY]
        key_name = [(KEY_NAME, visit.key_name)] if visit.key_name and not self._alone else []
        request = ("X-Request-Id", visit.request_id)
        return [*headers, request, *key_name, *self._browser.response_headers(environ), *_SECURITY, *own]


class _Visit:
    """State of one request until it is answered."""

    __slots__ = ("admission_number", "began", "environ", "key_name", "memory", "request_id")

    def __init__(self, environ: "WSGIEnvironment", memory: Reservation) -> None:
        self.environ = environ
        self.began = time.perf_counter()
        self.request_id = request_id.checked(environ.get("HTTP_X_REQUEST_ID", ""))
        self.admission_number: int | None = None
        self.memory = memory
        self.key_name = ""


def _log(visit: _Visit, status: int, headers: dict[str, str], seconds: float) -> None:
    """Write a line of the access log if nginx is not in front: the same fields, without bodies, queries or keys."""
    environ = visit.environ
    length = environ.get("CONTENT_LENGTH") or "0"
    line: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "request_id": visit.request_id,
        "client": environ.get("REMOTE_ADDR", ""),
        "key": visit.key_name,
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"].encode("latin1").decode(errors="replace"),
        "status": status,
        "bytes_in": int(length) if length.isascii() and length.isdigit() else 0,
        "bytes_out": int(headers.get("Content-Length", 0)),
        "seconds": round(seconds, 3),
        "model": headers.get(MODEL, ""),
        "version": headers.get(VERSION, ""),
        "agent": environ.get("HTTP_USER_AGENT", ""),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
