"""The REST routes, as Flask-RESTX resources so that the specification and Swagger UI come from the same lines."""

from typing import Any

import flask
from flask_restx import Api

from .. import __version__
from ..settings import Settings
from ..spec import LiveSpecification
from . import classify, digits, feedback, models, predict, serving
from .documents import Documents

_KEY = {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}


class _Api(Api):
    """Flask-RESTX without its own shape of errors: the application's handler answers them all."""

    def error_router(self, original_handler: Any, e: Exception) -> Any:
        return original_handler(e)


def init_app(app: flask.Flask, settings: Settings) -> None:
    """Add the routes and `/tf/swagger.json`."""
    app.config["RESTX_MASK_SWAGGER"] = False
    keys = settings.api_keys_file is not None
    api = _Api(
        version=__version__,
        title="tensor-lab",
        description="Pictures in, answers of the served models out. Every error is JSON: message, code, request_id.",
        doc=False,
        default="lab",
        default_label="Classify pictures, see what is served",
        authorizations=_KEY if keys else None,
        security=list(_KEY) if keys else None,
    )
    documents = Documents(api, keys=keys)
    digits.add(api, documents, settings.default_model)
    for family in (classify, predict, models, feedback, serving):
        family.add(api, documents)
    api.init_app(app, add_specs=False)
    gateway = app.extensions["gateway"]
    live = LiveSpecification(gateway.catalogue, gateway.profiles)
    app.add_url_rule("/tf/swagger.json", "specification", lambda: flask.jsonify(live.of(api.__schema__)))
