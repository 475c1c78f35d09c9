"""The Flask application: a factory that puts the doors together, the guard before all of them."""

from typing import Any

import flask

from . import errors, pages, routes, samples, upload
from .express import Express
from .gateway import Gateway
from .guard import health
from .guard.door import MODEL_ASKED, Door
from .guard.fetch import Fetcher
from .settings import Settings


class _Request(flask.Request):
    """Uploads stay in memory: they are bounded by MAX_CONTENT_LENGTH, and no disk fills up."""

    _file_count = 0

    def _get_file_stream(self, *_: Any, **__: Any) -> upload.FileStream:
        self._file_count += 1
        return upload.FileStream(self._file_count)


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
    app.extensions["gateway"] = gateway = Gateway(settings)
    app.extensions["fetch"] = Fetcher(settings.url_allow, settings.max_upload_bytes)
    app.url_value_preprocessor(_note_model)
    errors.init_app(app)
    health.init_app(app, gateway.check, settings.lab_id, settings.draining)
    pages.init_app(app, settings)
    samples.init_app(app)
    routes.init_app(app, settings)
    waiting = gateway.server.waiting
    app.wsgi_app = Door(Express(app.wsgi_app, gateway, settings), settings, waiting)  # type: ignore[method-assign]
    return app


def _note_model(_: str | None, named: dict[str, Any] | None) -> None:
    flask.request.environ[MODEL_ASKED] = (named or {}).get("model", "")
