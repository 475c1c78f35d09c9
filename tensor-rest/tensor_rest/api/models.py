"""What is served: GET /tf/models, one of them, the metadata of a version, and a working call of a model as text."""

import re

import flask
from flask_restx import Namespace, Resource

from tensor_rest.api import requests, snippets, versions
from tensor_rest.api.documents import SERVING, Documents
from tensor_rest.errors import BadRequestError


def add(api: Namespace, documents: Documents) -> None:
    """Add the routes."""

    @api.route("/tf/models")
    class Models(Resource):
        @api.doc(id="list_models", responses={200: "What is served", **documents.errors()})
        def get(self) -> flask.Response:
            """What is served: models, versions, their states, what is quarantined or ignored and why, the rules."""
            return flask.jsonify(requests.service().models())

    @api.route("/tf/models/<model>")
    @api.doc(params=versions.MODEL)
    class Model(Resource):
        @api.doc(id="describe_model", responses={200: "The model", **documents.errors(*SERVING)})
        def get(self, model: str) -> flask.Response:
            """One model: versions and states, and signatures and card of the default version."""
            return flask.jsonify(requests.service().model(model))

    @versions.route(api, "/tf/models", "/metadata", "metadata", "get")
    class Metadata(Resource):
        @api.doc(responses={200: "version, signatures, image_signatures, card", **documents.errors(*SERVING)})
        def get(self, model: str, version: str | None = None, label: str | None = None) -> flask.Response:
            """Signatures and card of a version"""
            metadata = requests.service().metadata(requests.target(model, version, label))
            return requests.marked(flask.jsonify(metadata.document()), model, metadata.version)

    @api.route("/tf/models/<model>/client")
    @api.doc(params=versions.MODEL)
    class Client(Resource):
        @api.doc(
            id="show_client",
            params={"lang": {"in": "query", "enum": list(snippets.LANGUAGES), "default": "python"}},
            produces=["text/plain", "application/json"],  # the latter for errors
            responses={200: "A script or a command line", **documents.errors(400, 409, *SERVING)},
        )
        def get(self, model: str) -> flask.Response:
            """A working call of the model, as text to paste."""
            language = flask.request.args.get("lang", "python")
            write = snippets.LANGUAGES.get(language)
            if write is None:
                raise BadRequestError(f"unknown lang {language[:20]!r} (expected python or curl)")
            metadata = requests.service().metadata(requests.target(model))
            text = write(metadata, snippets.GatewayAddress(_base(), keys=documents.keys))
            return requests.marked(flask.Response(text, mimetype="text/plain"), model, metadata.version)


def _base() -> str:
    """Return the address the caller used. Raises BadRequestError for any other text: it is written into scripts."""
    base = flask.request.host_url.rstrip("/")
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]+", base):
        raise BadRequestError("The header Host is not an address such as 127.0.0.1:8080.")
    return base
