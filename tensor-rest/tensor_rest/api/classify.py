"""POST /tf/models/<model>[/versions/<version>|/labels/<label>]/classify: pictures in, labels with scores out."""

from typing import Any

import flask
from flask_restx import Namespace, Resource, fields
from werkzeug.datastructures import FileStorage

from tensor_rest.api import params, requests, versions
from tensor_rest.api.documents import SERVING, Documents
from tensor_rest.errors import ApiError, BadRequestError
from tensor_rest.images import fetch
from tensor_rest.inference.cascade import Classification
from tensor_rest.inference.classifier import Answer
from tensor_rest.inference.metadata import SIGNATURE, Target
from tensor_rest.inference.service import InferenceService
from tensor_rest.payloads.multipart import File
from tensor_rest.runtime.reply import Reply


def add(api: Namespace, documents: Documents) -> None:
    """Add the routes."""
    request = api.parser()
    request.add_argument(
        "image", type=FileStorage, location="files", required=True,
        help="PNG, JPEG, BMP, WEBP or GIF; several in fields of any name, or one zip of them",
    )  # fmt: skip
    request.add_argument(
        "limit", type=int, location="args", default=requests.DEFAULT_LIMIT, help="Labels each, at most"
    )
    request.add_argument("explain", type=bool, location="args", default=False, help="Add what the model saw, and why")
    request.add_argument("signature", location="args", default=SIGNATURE, help="Another signature that takes pictures")
    answer = _answer(api)

    @versions.route(api, "/tf/models", "/classify", "classify")
    class Classify(Resource):
        @api.expect(request, validate=False)
        @api.doc(
            vendor={"x-needs": params.IMAGES},
            responses={200: ("The best labels", answer), **documents.errors(400, 403, 409, 413, 415, *SERVING)},
        )
        def post(self, model: str, version: str | None = None, label: str | None = None) -> flask.Response:
            """What is in these images?

            A form with one or many files in fields of any name (or a zip of them), an image as the whole body
            (Content-Type image/...), or JSON {"url": "..."} where the gateway is configured to fetch images. An image
            that cannot be read gets an `error` in place of its labels, unless it is the only one.
            """
            target = requests.target(model, version, label)
            limit, explain = requests.limit(), requests.flag("explain")
            signature = flask.request.args.get("signature", SIGNATURE)
            service, named = requests.service(), _pictures()
            return requests.response(classified(service, target, named, limit, signature, explain))


def classified(
    service: InferenceService,
    target: Target,
    named: list[File],
    limit: int,
    signature: str = SIGNATURE,
    explain: bool = False,
) -> Reply:
    """The answer of the route."""
    classifications, answers = service.classify_with_rules(target, [data for _, data in named], signature)
    first = answers[0]
    results = [_result(service, *pair, limit, explain) for pair in zip(named, classifications, strict=True)]
    document = {"model": first.model, "version": first.version, "signature": signature, "results": results}
    if explain:
        document["queue_ms"], document["model_ms"] = _times(answers)
    return requests.reply(document, first.model, first.version)


def _answer(api: Namespace) -> Any:
    label = api.model("LabelScore", {"label": fields.String(example="4"), "score": fields.Float(example=0.9987)})
    concept = api.model(
        "ConceptScore",
        {
            "score": fields.Float(example=0.004, description="Reconstruction error of the image"),
            "threshold": fields.Float(example=0.013, description="99 % of the images it was made for are below"),
            "in_distribution": fields.Boolean(example=True, description="Whether the score is not over the threshold"),
        },
    )
    result = api.model(
        "PictureResult",
        {
            "name": fields.String(description="The file's name", example="digit.png"),
            "labels": fields.List(fields.Nested(label), description="Best first"),
            "error": fields.String(description="In place of labels: why this picture cannot be read"),
            "model": fields.String(description="Who answered, where a rule handed the picture on"),
            "version": fields.Integer(description="Its version"),
            "unsure": fields.Boolean(description="Where a rule fired: the best score is below the model's threshold"),
            "rules": fields.List(fields.Raw, description="The rules that fired, in order"),
            "concept": fields.Nested(
                concept,
                allow_null=True,
                skip_none=True,
                description="Where the model's companion <model>-concept is served: how foreign the image is to it",
            ),
            "explain": fields.Raw(description="With explain=1: what the model saw, and why"),
        },
    )
    return api.model(
        "PictureResults",
        {
            "model": fields.String(required=True, example="mnist-net"),
            "version": fields.Integer(required=True, example=1),
            "signature": fields.String(required=True, example=SIGNATURE),
            "results": fields.List(fields.Nested(result), required=True, description="In the order of the pictures"),
            "queue_ms": fields.Float(description="With explain=1: time in line"),
            "model_ms": fields.Float(description="With explain=1: time of the call to serving"),
        },
    )


def _pictures() -> list[File]:
    if flask.request.mimetype != requests.JSON:
        return requests.pictures()
    with requests.json_object() as document:
        url = document.get("url")
        if not isinstance(url, str) or len(document) != 1:
            raise BadRequestError('The JSON must be {"url": "https://..."}; pictures themselves travel as a form.')
    return [(url[:200], fetch.image(url))]


def _result(
    service: InferenceService, named: File, classification: Classification, limit: int, explain: bool
) -> dict[str, Any]:
    name, data = named
    if isinstance(classification.ranking, ApiError) or isinstance(classification.pixels, ApiError):
        return {"name": name, "error": str(classification.ranking)}
    best = [{"label": label, "score": round(score, requests.DIGITS)} for label, score in classification.ranking[:limit]]
    result: dict[str, Any] = {"name": name, "labels": best}
    if classification.fired:
        answer = classification.answer
        rules = {"unsure": classification.unsure, "rules": classification.fired}
        result |= {"model": answer.model, "version": answer.version, **rules}
    if classification.concept:
        result["concept"] = classification.concept.document()
    if explain:
        result["explain"] = service.explain(data, classification.pixels, classification.answer.image_signature)
    return result


def _times(answers: list[Answer]) -> tuple[float, float]:
    """Milliseconds in line and in calls, of all calls made for this request."""
    queue, model = sum(answer.queue_seconds for answer in answers), sum(answer.model_seconds for answer in answers)
    return round(1000 * queue, 3), round(1000 * model, 3)
