"""The REST routes, as Flask-RESTX resources, so that the specification and Swagger UI come from the same code."""

from typing import Any

import flask
from flask_restx import Api, Namespace

from tensor_rest import __version__
from tensor_rest.api import (
    classify,
    direct,
    feedback,
    image_routes,
    mnist,
    models,
    openapi,
    params,
    predict,
    probes,
    tfserving,
)
from tensor_rest.api.documents import Documents
from tensor_rest.api.specification import LiveSpecification
from tensor_rest.settings import Settings

_ABOUT = (
    "Images and tensors in, answers of the served models out. Errors are JSON: message, code and request_id, under /v1 "
    "TensorFlow Serving's error. The same as OpenAPI 3.1, with every operation: /tf/openapi.json."
)
IMAGE_ROUTES = {"digits": (mnist.DIGIT, mnist.LABEL), "classify": (classify.CLASSIFY,)}
"""By group. The fast path answers them as well."""
_FAMILIES: dict[str, Any] = {
    "predict": predict,
    "models": models,
    "feedback": feedback,
    "TensorFlow Serving REST": tfserving,
}
_GROUPS = {
    "digits": "The tutorial's calls: which digit is this?",
    "classify": "Images in, labels with scores out, of any model that classifies images",
    "predict": "Tensors in, tensors out, of any model and signature",
    "models": "What is served",
    "feedback": "Keep an image with its right label",
    "direct": "Models called directly, without the gateway",
    "TensorFlow Serving REST": "The paths and documents of TensorFlow Serving's own REST API",
}
_KEY = {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}


class _Api(Api):
    """Flask-RESTX without its own error format: the application's handler answers all errors."""

    def error_router(self, original_handler: Any, e: Exception) -> Any:
        return original_handler(e)


def init_app(app: flask.Flask, settings: Settings) -> None:
    """Add the routes and `/tf/swagger.json`."""
    app.config["RESTX_MASK_SWAGGER"] = False
    keys = settings.api_keys_file is not None
    api = _Api(
        version=__version__,
        title="tensor-lab",
        description=_ABOUT,
        doc=False,
        authorizations=_KEY if keys else None,
        security=list(_KEY) if keys else None,
    )
    documents = Documents(api, keys=keys, keeps_feedback=settings.feedback_dir is not None)
    for name, routes in IMAGE_ROUTES.items():
        group = _group(api, name)
        for route in routes:
            image_routes.add(group, documents, route, settings.default_model)
    for name, family in _FAMILIES.items():
        family.add(_group(api, name), documents)
    if settings.route_key_file:
        direct.add(_group(api, "direct"), documents, settings.default_model)
    api.init_app(app, add_specs=False)
    service = app.extensions["gateway"]
    live = LiveSpecification(service.catalogue, service.metadata_cache, settings.default_model)

    def whole() -> dict[str, Any]:
        return live.of(_fixed(api.__schema__, documents))

    app.add_url_rule("/tf/swagger.json", "specification", lambda: flask.jsonify(params.executable(whole())))
    app.add_url_rule("/tf/openapi.json", "openapi", lambda: flask.jsonify(openapi.convert(whole())))


def _group(api: Api, name: str) -> Namespace:
    """Operations that Swagger UI shows under one heading."""
    group: Namespace = api.namespace(name, description=_GROUPS[name], path="/")
    return group


def _fixed(schema: dict[str, Any], documents: Documents) -> dict[str, Any]:
    """The specification without any model."""
    found = {key: value for key, value in schema.items() if key != "responses"}  # Flask-RESTX's own, which are unused
    found["paths"] = {**schema["paths"], **documents.paths_of_probes()}
    found["tags"] = [tag for tag in schema["tags"] if tag["name"] != "default"] + [probes.TAG]
    return found
