"""GET /tf/route: a model server's address and a token for it; only where TENSOR_REST_ROUTE_KEY_FILE is set."""

import flask
from flask_restx import Namespace, Resource

from tensor_rest.api import requests
from tensor_rest.api.documents import SERVING, Documents
from tensor_rest.errors import BadRequestError
from tensor_rest.inference.direct_routes import TOKEN_SECONDS


def add(api: Namespace, documents: Documents, example: str) -> None:
    """Add the route; `example` is the name of a model in the specification."""
    parameters = {
        "model": {"in": "query", "required": True, "description": "Name of a served model", "default": example},
        "version": {"in": "query", "type": "integer", "description": "Number of a version"},
        "label": {"in": "query", "description": "Label of a version; without both the default version"},
    }

    @api.route("/tf/route")
    class Route(Resource):
        @api.doc(id="route", params=parameters, responses={200: "The route", **documents.errors(400, *SERVING)})
        def get(self) -> flask.Response:
            """Where to call a model over gRPC past the gateway, and the token to send (authorization: Bearer)."""
            model, version, label = (flask.request.args.get(name) or None for name in parameters)
            if not model or (version and label):
                raise BadRequestError("model is required; version and label exclude each other")
            metadata = requests.service().metadata(requests.target(model, version, label))
            found = requests.service().direct_route(model, metadata.version)
            answer = {
                "endpoint": found.endpoint,
                "model": model,
                "version": metadata.version,
                "token": found.token,
                "expires_in": TOKEN_SECONDS,
            }
            response = flask.jsonify(answer)
            response.headers["Cache-Control"] = "no-store"
            return requests.marked(response, model, metadata.version)
