"""The Flask application: a factory that puts routes, fast path and middleware together."""

from typing import Any

import flask

from tensor_rest.api import error_handlers, routes
from tensor_rest.api.fast_path import FastPath
from tensor_rest.images.fetch import Fetcher
from tensor_rest.inference.service import InferenceService
from tensor_rest.middleware.guard import REQUESTED_MODEL, Guard
from tensor_rest.observability import health
from tensor_rest.payloads import multipart
from tensor_rest.settings import Settings
from tensor_rest.web import pages, samples


class _Request(flask.Request):
    """A request that keeps uploaded files in memory: MAX_CONTENT_LENGTH bounds them, and no disk can fill up."""

    _file_count = 0

    def _get_file_stream(self, *_: Any, **__: Any) -> multipart.FileStream:
        self._file_count += 1
        return multipart.FileStream(self._file_count)


class _App(flask.Flask):
    """Flask without its check on every request whether a view is a coroutine: none of the views is."""

    def ensure_sync(self, func: Any) -> Any:
        return func


def create_app(settings: Settings) -> flask.Flask:
    """Return the whole gateway as a WSGI application. It opens no connection before the first request."""
    app = _App(__name__, static_folder="web/static", template_folder="web/templates")
    app.request_class = _Request
    app.config["MAX_CONTENT_LENGTH"] = settings.max_upload_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["gateway"] = service = InferenceService(settings)
    app.extensions["fetch"] = Fetcher(settings.url_allow, settings.max_upload_bytes)
    app.url_value_preprocessor(_note_model)
    error_handlers.init_app(app)
    health.init_app(app, service.check, settings.lab_id, settings.draining)
    pages.init_app(app, settings)
    samples.init_app(app)
    routes.init_app(app, settings)
    waiting = service.server.waiting
    fast_path = FastPath(app.wsgi_app, service, settings, sum(routes.IMAGE_ROUTES.values(), ()))
    app.wsgi_app = Guard(fast_path, settings, waiting)  # type: ignore[method-assign]
    return app


def _note_model(_: str | None, named: dict[str, Any] | None) -> None:
    flask.request.environ[REQUESTED_MODEL] = (named or {}).get("model", "")
