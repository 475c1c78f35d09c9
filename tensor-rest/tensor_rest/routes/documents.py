"""Requests and answers as the specification shows them."""

from typing import Any

from flask_restx import Api, fields
from werkzeug.datastructures import FileStorage

from .requests import DEFAULT_LIMIT

_ERRORS = {
    400: "The request is wrong in itself; the message says where",
    401: "A key is missing, or not known",
    403: "Pictures are not fetched from there",
    404: "No such model, version or label",
    409: "This model cannot do this",
    413: "Too many bytes, pixels or values",
    415: "Not a format that is read here",
    429: "Serving is busy",
    502: "Serving answered something that makes no sense",
    503: "Serving does not answer",
    504: "Serving is too slow",
    507: "There is no room for more",
}
SERVING = (404, 429, 502, 503, 504)
"""The errors of every route that asks serving for an answer."""


class Documents:
    """The models of `api`. `keys`: callers need one."""

    def __init__(self, api: Api, *, keys: bool) -> None:
        self.api = api
        self.keys = keys
        self.upload = api.parser().add_argument(
            "image", type=FileStorage, location="files", required=True, help="PNG, JPEG, BMP, WEBP or GIF"
        )
        self.upload_limit = self.upload.copy().add_argument(
            "limit", type=int, location="args", default=DEFAULT_LIMIT, help="How many answers, 1 to all"
        )
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
        """What stands in `responses` for these statuses."""
        return {code: (_ERRORS[code], self.error) for code in sorted([*codes, *([401] if self.keys else [])])}
