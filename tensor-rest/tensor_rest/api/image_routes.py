"""The declaration of a route that takes images: Flask-RESTX and the fast path are both made from it.

Nothing here knows a particular route; `api.mnist` and `api.classify` declare them, `api.routes` lists them.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import flask
from flask_restx import Namespace, Resource
from werkzeug.datastructures import FileStorage

from tensor_rest.api import requests, versions
from tensor_rest.api.documents import SERVING, Documents
from tensor_rest.errors import BadRequestError
from tensor_rest.images import fetch
from tensor_rest.images.formats import FORMATS_TEXT
from tensor_rest.inference.metadata import SIGNATURE, Target
from tensor_rest.inference.service import InferenceService
from tensor_rest.middleware.guard import REQUESTED_MODEL
from tensor_rest.payloads.multipart import File
from tensor_rest.runtime.reply import JSON, Reply

LIMIT, EXPLAIN, SIGNATURE_NAME = "limit", "explain", "signature"
"""Query parameters; a route ignores those it does not declare."""
_TYPES: dict[str, tuple[Any, Any]] = {
    LIMIT: (int, requests.DEFAULT_LIMIT),
    EXPLAIN: (bool, False),
    SIGNATURE_NAME: (str, SIGNATURE),
}
_MODEL = "<model>"


@dataclass(frozen=True)
class ImageRequest:
    """A request of an image route, read by Flask or by the fast path."""

    service: InferenceService
    target: Target
    images: list[File]
    """At least one; exactly one where the route takes one."""
    limit: int = requests.DEFAULT_LIMIT
    signature: str = SIGNATURE
    explain: bool = False


@dataclass(frozen=True)
class ImageRoute:
    """A POST route that takes images: as a form, or one image as the whole body.

    Attributes:
        path: With `<model>`; a path without it is for the default model.
        operation: Its name in the specification.
        summary: Its text there, as in a docstring.
        many: Whether a form may hold several images or a zip. Such a route also takes JSON {"url": "..."}.
        by_version: Whether the route also exists under `/versions/<version>` and `/labels/<label>` of the model.
        query: Its query parameters, with their texts in the specification.
        needs: What a model must have for it; see `api.params`.
        errors: Statuses besides those of every image route.
        answers: The description of status 200, and the function that makes its response schema.
        reply: The reply to a request. It raises ApiError.
    """

    path: str
    operation: str
    summary: str
    needs: str
    answers: tuple[str, Callable[[Namespace], Any]]
    reply: Callable[[ImageRequest], Reply]
    query: dict[str, str]
    many: bool = False
    by_version: bool = False
    errors: tuple[int, ...] = ()


def add(api: Namespace, documents: Documents, route: ImageRoute, default_model: str) -> None:
    """Add `route` as a Flask-RESTX resource."""
    text, model_of = route.answers
    errors = documents.errors(400, 409, 413, 415, *SERVING, *route.errors)

    class Images(Resource):
        @api.expect(_parser(api, route), validate=False)
        @api.doc(vendor={"x-needs": route.needs}, responses={200: (text, model_of(api)), **errors})
        def post(
            self, model: str = default_model, version: str | None = None, label: str | None = None
        ) -> flask.Response:
            flask.request.environ[REQUESTED_MODEL] = model
            return requests.response(route.reply(_read(route, requests.target(model, version, label))))

    Images.post.__doc__ = route.summary
    if route.by_version:
        base, _, ending = route.path.partition(f"/{_MODEL}")
        versions.route(api, base, ending, route.operation)(Images)
    else:
        parameters = versions.MODEL if _MODEL in route.path else {}
        api.route(route.path, doc={"params": parameters, "post": {"id": route.operation}})(Images)


def pattern(routes: Iterable[ImageRoute]) -> re.Pattern[str]:
    """Return a pattern for the paths of `routes` without version or label.

    Group `r0` matches the first of them, `r1` the second and so on; `m0` is the model's name where the path has one.
    """
    name = "(?P<m{}>[a-z0-9._-]{{1,63}})"
    paths = (f"(?P<r{at}>{re.escape(route.path).replace(_MODEL, name.format(at))})" for at, route in enumerate(routes))
    return re.compile("|".join(paths))


def _parser(api: Namespace, route: ImageRoute) -> Any:
    """The parameters in the specification."""
    parser = api.parser()
    several = "; several in fields of any name, or one zip of them" if route.many else ""
    parser.add_argument("image", type=FileStorage, location="files", required=True, help=FORMATS_TEXT + several)
    for name, text in route.query.items():
        kind, default = _TYPES[name]
        parser.add_argument(name, type=kind, location="args", default=default, help=text)
    return parser


def _read(route: ImageRoute, target: Target) -> ImageRequest:
    """Read Flask's request. The query is checked before the body is read."""
    limit = requests.limit() if LIMIT in route.query else requests.DEFAULT_LIMIT
    explain = requests.flag(EXPLAIN) if EXPLAIN in route.query else False
    signature = flask.request.args.get(SIGNATURE_NAME, SIGNATURE) if SIGNATURE_NAME in route.query else SIGNATURE
    images = _images() if route.many else [("", requests.image())]
    return ImageRequest(requests.service(), target, images, limit, signature, explain)


def _images() -> list[File]:
    if flask.request.mimetype != JSON:
        return requests.images()
    with requests.json_object() as document:
        url = document.get("url")
        if not isinstance(url, str) or len(document) != 1:
            raise BadRequestError('The JSON must be {"url": "https://..."}; images themselves are sent as a form.')
    return [(url[:200], fetch.image(url))]
