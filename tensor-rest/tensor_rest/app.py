"""The Flask application: a factory that puts the doors together, the guard before all of them."""

import io
from typing import Any

import flask

from . import budget, errors, pages, routes
from .gateway import Gateway
from .guard import door
from .settings import Settings


class _Request(flask.Request):
    """Uploads stay in memory: they are bounded by MAX_CONTENT_LENGTH, and nothing is written outside the run folder."""

    def _get_file_stream(self, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO()


class _App(flask.Flask):
    """Flask, told once that nothing here is a coroutine: it would look at every function of every request again."""

    def ensure_sync(self, func: Any) -> Any:
        return func


def create_app(settings: Settings) -> flask.Flask:
    """The whole gateway as a WSGI application. Nothing is connected before the first request."""
    app = _App(__name__)
    app.request_class = _Request
    app.config["MAX_CONTENT_LENGTH"] = settings.max_upload_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["gateway"] = Gateway(settings)
    errors.init_app(app)
    door.init_app(app, settings)  # first: whatever comes after it is guarded
    budget.init_app(app, settings)
    pages.init_app(app, settings)
    routes.init_app(app, settings)
    return app
