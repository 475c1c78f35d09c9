"""The Flask application: a factory that puts the doors together, and what holds for every answer."""

import io
from typing import Any

import flask

from . import api, errors, pages, request_id
from .gateway import Gateway
from .settings import Settings

_DRAIN_FACTOR = 4  # of the body limit is what is read and thrown away, so that the sender gets to read our refusal
_CHUNK = 1 << 16  # bytes

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class _Request(flask.Request):
    """Uploads stay in memory: they are bounded by MAX_CONTENT_LENGTH, and nothing is written outside the run folder."""

    def _get_file_stream(self, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO()


def create_app(settings: Settings) -> flask.Flask:
    """The whole gateway as a WSGI application. Nothing is connected before the first request."""
    app = flask.Flask(__name__)
    app.request_class = _Request
    app.config["MAX_CONTENT_LENGTH"] = settings.max_upload_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["gateway"] = Gateway(settings)
    errors.init_app(app)
    app.before_request(_name_request)
    app.before_request(_refuse_chunks)
    app.after_request(_finish)
    pages.init_app(app, settings)
    api.init_app(app, settings)
    return app


def _name_request() -> None:
    flask.g.request_id = request_id.checked(flask.request.headers.get("X-Request-Id", ""))


def _refuse_chunks() -> None:
    """uWSGI's own HTTP does not collect a chunked body; nginx does, and takes the header away."""
    if flask.request.headers.get("Transfer-Encoding"):
        raise errors.LengthRequiredError("A body without Content-Length (chunked) is not taken; send its length.")


def _finish(response: flask.Response) -> flask.Response:
    response.headers["X-Request-Id"] = flask.g.request_id
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    _drain(flask.current_app.config["MAX_CONTENT_LENGTH"] * _DRAIN_FACTOR)
    return response


def _drain(limit: int) -> None:
    """Read what is left of the body: closing a socket with unread bytes resets it, and the answer would be lost."""
    body = flask.request.environ["wsgi.input"]
    try:
        while limit > 0 and (chunk := body.read(min(_CHUNK, limit))):
            limit -= len(chunk)
    except OSError:
        pass  # the sender is gone or too slow; nobody waits for the answer
