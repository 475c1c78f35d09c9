"""Schemas and status codes of responses in the specification."""

from typing import Any

from flask_restx import Api, fields

from tensor_rest.api import probes

_ERRORS = {
    400: "The request is invalid; the message names the place",
    401: "An API key is missing or unknown, where the gateway requires one",
    403: "Not allowed for this caller, from this page, or for this URL",
    404: "The model, version or label is not served",
    408: "The request body arrived too slowly, or ended early",
    409: "The model, or the gateway as it is configured, cannot do this",
    411: "The request body has no Content-Length",
    413: "Too many bytes, pixels, files or values",
    415: "A format, or a Content-Encoding, that is not supported",
    421: "The Host header names another host",
    429: "Too many requests of this client, or for the model server; see Retry-After",
    502: "The model server's answer is invalid",
    503: "The gateway or the model server is unavailable or busy; see Retry-After",
    504: "The model server did not answer within the deadline",
    507: "The limit of stored feedback is reached",
}
_GUARD = (400, 401, 403, 421, 429, 503)  # of every request behind the guard
_WITH_BODY = (408, 411, 413, 415)
SERVING = (404, 429, 502, 503, 504)
"""The errors of every route that calls the model server."""


class Documents:
    """The schemas of `api`. `keys`: whether callers need an API key. `keeps_feedback`: whether feedback is stored."""

    def __init__(self, api: Api, *, keys: bool, keeps_feedback: bool) -> None:
        self.api = api
        self.keys = keys
        self.keeps_feedback = keeps_feedback
        self.error = api.model(
            "Error",
            {
                "message": fields.String(required=True),
                "code": fields.Integer(required=True, example=404),
                "request_id": fields.String(required=True),
            },
        )
        self.serving_error = api.model("ServingError", {"error": fields.String(required=True)})

    def errors(self, *codes: int) -> dict[int, Any]:
        """Return `responses` for these statuses and the guard's; 413 among them adds those of a request body."""
        all_codes = {*_GUARD, *codes, *(_WITH_BODY if 413 in codes else ())}
        return {code: (_ERRORS[code], self.error) for code in sorted(all_codes)}

    def paths_of_probes(self) -> dict[str, Any]:
        """The health paths, which are not Flask-RESTX resources."""
        schema = {"$ref": f"#/definitions/{self.error.name}"}
        return probes.paths({str(code): {"description": text, "schema": schema} for code, text in _ERRORS.items()})
