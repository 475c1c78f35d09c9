"""POST /tf/models/<model>[/versions/<version>|/labels/<label>]/classify: images in, labels with scores out."""

from typing import Any

from flask_restx import Namespace, fields

from tensor_rest.api import params, requests
from tensor_rest.api.image_routes import EXPLAIN, LIMIT, SIGNATURE_NAME, ImageRequest, ImageRoute
from tensor_rest.errors import ApiError
from tensor_rest.inference.cascade import Classification
from tensor_rest.inference.classifier import Answer
from tensor_rest.inference.metadata import SIGNATURE
from tensor_rest.payloads.multipart import File
from tensor_rest.runtime.reply import Reply


def _classify(request: ImageRequest) -> Reply:
    service, images = request.service, request.images
    classifications, answers = service.classify_with_rules(
        request.target, [data for _, data in images], request.signature
    )
    first = answers[0]
    results = [_result(request, *pair) for pair in zip(images, classifications, strict=True)]
    document = {"model": first.model, "version": first.version, "signature": request.signature, "results": results}
    if request.explain:
        document["queue_ms"], document["model_ms"] = _times(answers)
    return requests.reply(document, first.model, first.version)


def _model_of_results(api: Namespace) -> Any:
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
        "ImageResult",
        {
            "name": fields.String(description="The file's name", example="digit.png"),
            "labels": fields.List(fields.Nested(label), description="Best first"),
            "error": fields.String(description="In place of labels: why this image cannot be read"),
            "model": fields.String(description="The model that answered, where a rule sent the image to another one"),
            "version": fields.Integer(description="Its version"),
            "unsure": fields.Boolean(description="Where a rule fired: the best score is below the model's threshold"),
            "rules": fields.List(fields.Raw, description="The rules that fired, in order"),
            "concept": fields.Nested(
                concept,
                allow_null=True,
                skip_none=True,
                description="Where the companion <model>-concept is served: how unlike its training data the image is",
            ),
            "explain": fields.Raw(description="With explain=1: what the model saw, and why"),
        },
    )
    return api.model(
        "ImageResults",
        {
            "model": fields.String(required=True, example="mnist-net"),
            "version": fields.Integer(required=True, example=1),
            "signature": fields.String(required=True, example=SIGNATURE),
            "results": fields.List(fields.Nested(result), required=True, description="In the order of the images"),
            "queue_ms": fields.Float(description="With explain=1: time in the batch queue"),
            "model_ms": fields.Float(description="With explain=1: time of the call to the model server"),
        },
    )


def _result(request: ImageRequest, image: File, classification: Classification) -> dict[str, Any]:
    name, data = image
    if isinstance(classification.ranking, ApiError) or isinstance(classification.pixels, ApiError):
        return {"name": name, "error": str(classification.ranking)}
    best = [
        {"label": label, "score": round(score, requests.DIGITS)}
        for label, score in classification.ranking[: request.limit]
    ]
    result: dict[str, Any] = {"name": name, "labels": best}
    if classification.fired:
        answer = classification.answer
        rules = {"unsure": classification.unsure, "rules": classification.fired}
        result |= {"model": answer.model, "version": answer.version, **rules}
    if classification.concept:
        result["concept"] = classification.concept.document()
    if request.explain:
        result["explain"] = request.service.explain(data, classification.pixels, classification.answer.image_signature)
    return result


def _times(answers: list[Answer]) -> tuple[float, float]:
    """Milliseconds in the batch queue and in calls to the model server, of all calls for this request."""
    queue, model = sum(answer.queue_seconds for answer in answers), sum(answer.model_seconds for answer in answers)
    return round(1000 * queue, 3), round(1000 * model, 3)


CLASSIFY = ImageRoute(
    path="/tf/models/<model>/classify",
    operation="classify",
    summary="""Labels with scores, of one or many images, from any model of images

    A form with one or many files in fields of any name (or a zip of them), an image as the whole body
    (Content-Type image/...), or JSON {"url": "..."} where the gateway is configured to fetch images. An image
    that cannot be read gets an `error` in place of its labels, unless it is the only one.
    """,
    needs=params.IMAGES,
    answers=("The best labels", _model_of_results),
    reply=_classify,
    query={
        LIMIT: "Labels each, at most",
        EXPLAIN: "Add what the model saw, and why",
        SIGNATURE_NAME: "Another signature that takes images",
    },
    many=True,
    by_version=True,
    errors=(403,),
)
