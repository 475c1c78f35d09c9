"""What the routes read from a request, and the headers that name the model and version that answered."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import flask

from tensor_rest.errors import BadRequestError, NotFoundError, UnsupportedMediaError
from tensor_rest.inference.metadata import Target
from tensor_rest.inference.service import InferenceService
from tensor_rest.payloads import json_body, multipart
from tensor_rest.runtime.headers import MODEL, VERSION
from tensor_rest.runtime.reply import JSON, Reply

DEFAULT_LIMIT = 3
DIGITS = 6
"""Decimal places of a probability: about the precision of float32."""

_VERSION = re.compile(r"[0-9]{1,18}")
_MAX_LABEL_CHARS = 100
_YES, _NO = ("1", "true", "yes"), ("", "0", "false", "no")


def service() -> InferenceService:
    """Return the application's InferenceService."""
    found: InferenceService = flask.current_app.extensions["gateway"]
    return found


def target(model: str, version: str | None = None, label: str | None = None) -> Target:
    """Return the Target of a path. Raises NotFoundError for a version that is not a number, or an impossible label."""
    if version is not None and not _VERSION.fullmatch(version):
        raise NotFoundError(f"{version[:40]!r} cannot be a version; versions are whole numbers, such as 1.")
    if label is not None and (len(label) > _MAX_LABEL_CHARS or not label.isprintable()):
        raise NotFoundError(f"{label[:40]!r} cannot be a label of a version; labels are words such as stable.")
    return Target(model, None if version is None else int(version), label)


def image() -> bytes:
    """The one image: the only file of a form, or the whole body as it is."""
    return flask.request.get_data() if _is_image() else multipart.image(flask.request)


def images() -> list[multipart.File]:
    """Every image with its name: of a form (files or a zip), or the whole body as it is."""
    return [("", flask.request.get_data())] if _is_image() else multipart.images(flask.request)


def _is_image() -> bool:
    """Whether the body is the image itself."""
    return flask.request.mimetype.startswith(("image/", "application/octet-stream"))


@contextmanager
def json_object(*, trailing: bool = False) -> Iterator[dict[str, Any]]:
    """The body as a JSON object, whatever its Content-Type: clients of TensorFlow Serving send any.

    A large body holds the slot for large bodies until the context ends. `trailing`: text after the document is ignored.
    """
    data = flask.request.get_data()
    with json_body.large_body_slot(len(data)):
        document = json_body.loads(data, trailing=trailing)
        if not isinstance(document, dict):
            raise BadRequestError(f"The body is a JSON {type(document).__name__}; an object was wanted.")
        yield document


def refuse_form() -> None:
    """Raise UnsupportedMediaError for a form, where a JSON document or arrays are wanted."""
    if flask.request.mimetype == "multipart/form-data":
        raise UnsupportedMediaError("This route takes application/json, .npy or .npz, not a form.")


def limit() -> int:
    """Return how many labels to answer: the query parameter `limit`."""
    text = flask.request.args.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise BadRequestError(f"limit={text[:20]!r} is not a number of answers; wanted 1 or more.")
    return int(text)


def flag(name: str) -> bool:
    """Whether a query parameter is true."""
    text = flask.request.args.get(name, "")
    if text not in _YES + _NO:
        raise BadRequestError(f"{name}={text[:20]!r} is neither yes nor no; wanted 1 or 0.")
    return text in _YES


def answered(document: Any, model: str, version: int) -> flask.Response:
    """JSON of a model's answer, with the headers that name the model and version that answered."""
    return response(reply(document, model, version))


def reply(document: Any, model: str, version: int) -> Reply:
    """Return JSON of a model's answer as a `Reply`, which the fast path can send without Flask."""
    named = (MODEL, model), (VERSION, str(version))
    return Reply(200, [("Content-Type", JSON), *named], json_body.dumps(document))


def response(reply: Reply) -> flask.Response:
    """Return the reply as Flask's response."""
    return flask.Response(reply.body, reply.status, reply.headers)


def marked(response: flask.Response, model: str, version: int) -> flask.Response:
    """The response with the headers that name the model and version that answered."""
    response.headers[MODEL] = model
    response.headers[VERSION] = str(version)
    return response
