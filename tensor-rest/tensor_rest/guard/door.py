"""What every request passes on its way in, and every answer on its way out, whichever route it takes."""

import ipaddress
import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import flask

from .. import request_id
from ..errors import ForbiddenError
from ..settings import Settings
from . import body, health, keys, metrics
from .browser import Browser
from .fetch import Fetcher
from .headers import KEY_NAME, POLICY, PROBES, SECURITY
from .limits import Admission

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]

_POLICY = (POLICY, SECURITY[POLICY])
_SECURITY = [(name, value) for name, value in SECURITY.items() if name != POLICY]


def init_app(app: flask.Flask, settings: Settings) -> None:
    """Guard every route of the app, and add /healthz, /readyz and /metrics."""
    door = _Door(settings)
    app.extensions["fetch"] = Fetcher(settings.url_allow, settings.max_upload_bytes)
    app.before_request(door.enter)
    app.after_request(door.finish)
    app.teardown_request(door.leave)
    health.init_app(app, lambda: app.extensions["gateway"].check())
    app.add_url_rule("/metrics", "metrics", _metrics)
    app.wsgi_app = _secured(app.wsgi_app)  # type: ignore[assignment, method-assign]


def _secured(application: "WSGIApplication") -> "WSGIApplication":
    """`application` with the security headers on every answer: after Flask, which takes a microsecond for each."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        def start(status: str, headers: Headers, *error: Any) -> Callable[[bytes], object]:
            own = any(name == POLICY for name, _ in headers)
            return start_response(status, [*headers, *_SECURITY] if own else [*headers, *_SECURITY, _POLICY], *error)

        return application(environ, start)

    return answer


class _Door:
    """One per process."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.max_upload_bytes
        self._admission = Admission(settings.threads)
        self._browser = Browser(settings)
        self._keys = keys.Keys(settings.api_keys_file) if settings.api_keys_file else None
        self._alone = settings.front == "uwsgi"

    def enter(self) -> flask.Response | None:
        """Let the request in, or raise the ApiError that says why not."""
        environ, known = flask.request.environ, flask.g
        known.began = time.perf_counter()
        known.request_id = request_id.checked(environ.get("HTTP_X_REQUEST_ID", ""))
        metrics.in_flight(1)
        path = environ["PATH_INFO"]
        if path in PROBES:
            return None
        arrived = environ.get("tensor_rest.arrived")
        known.ticket = self._admission.enter(float(arrived) if arrived else None)
        self._browser.check(environ)
        if preflight := self._browser.preflight(environ):
            return preflight
        if self._keys and not keys.is_open(path):
            known.key_name = self._keys.check(environ)
        body.unpack(environ, self._limit)
        return None

    def finish(self, response: flask.Response) -> flask.Response:
        """Add what every answer carries, and count it."""
        environ, known, headers = flask.request.environ, flask.g, response.headers
        headers.add("X-Request-Id", known.request_id)
        self._browser.mark(environ, response)
        body.drain(environ, self._limit)
        model, version = headers.get("X-Model-Name", ""), headers.get("X-Model-Version", "")
        if not model:
            model = metrics.known((flask.request.view_args or {}).get("model", ""))
        seconds = time.perf_counter() - known.began
        metrics.observe(model, version, response.status_code, seconds)
        if self._alone:
            _log(response, seconds)
        elif key_name := known.get("key_name"):
            headers[KEY_NAME] = key_name
        return response

    def leave(self, _error: BaseException | None) -> None:
        """The request is over, however it ended."""
        if flask.g.pop("began", None) is not None:
            metrics.in_flight(-1)
        if (ticket := flask.g.pop("ticket", None)) is not None:
            self._admission.leave(ticket)


def _metrics() -> flask.Response:
    """For whoever may ask and comes from this machine or a private network."""
    client = ipaddress.ip_address(flask.request.remote_addr or "127.0.0.1")
    if client.is_global:
        raise ForbiddenError("/metrics answers private addresses only.")
    return flask.Response(metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _log(response: flask.Response, seconds: float) -> None:
    """A line of access log, where no nginx writes it: the same names, nothing of bodies, queries or keys."""
    request, headers = flask.request, response.headers
    line: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "request_id": flask.g.request_id,
        "client": request.remote_addr,
        "key": flask.g.get("key_name", ""),
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "bytes_in": request.content_length or 0,
        "bytes_out": response.content_length or 0,
        "seconds": round(seconds, 3),
        "model": headers.get("X-Model-Name", ""),
        "version": headers.get("X-Model-Version", ""),
        "agent": request.headers.get("User-Agent", ""),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
