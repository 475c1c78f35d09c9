"""The tutorial's two routes: POST /tf/mnist/<model> and POST /predictlabel."""

from typing import Any

from flask_restx import Namespace, fields

from tensor_rest.api import params, requests
from tensor_rest.api.image_routes import LIMIT, ImageRequest, ImageRoute
from tensor_rest.errors import BadRequestError, ConflictError
from tensor_rest.runtime.reply import Reply


def _classification(request: ImageRequest) -> Reply:
    model = request.target.model
    answer = request.service.classify(request.target, [data for _, data in request.images])
    ranking, limit = answer.ranking, request.limit
    if limit > len(ranking):
        raise BadRequestError(f"limit={limit} is over the {len(ranking)} labels of model {model!r}.")
    best = [
        {"digit": _digit(label, model), "probability": round(score, requests.DIGITS)}
        for label, score in ranking[:limit]
    ]
    return requests.reply({"classification_result": best}, model, answer.version)


def _label_prediction(request: ImageRequest) -> Reply:
    answer = request.service.classify(request.target, [data for _, data in request.images])
    ranking = answer.ranking
    predictions = [{"label": label, "probability": f"{score:.4f}"} for label, score in ranking]
    document = {"most_probable_label": ranking[0][0], "predictions": predictions, "success": True}
    return requests.reply(document, request.target.model, answer.version)


def _digit(label: str, model: str) -> int:
    if not (label.isascii() and label.isdigit()):
        raise ConflictError(
            f"Model {model!r} answers labels such as {label!r}; this route answers digits. "
            f"POST /tf/models/{model}/classify answers any label."
        )
    return int(label)


def _classification_model(api: Namespace) -> Any:
    digit = api.model("Digit", {"digit": fields.Integer(example=2), "probability": fields.Float(example=0.998)})
    return api.model("Classification", {"classification_result": fields.List(fields.Nested(digit))})


def _label_prediction_model(api: Namespace) -> Any:
    label = api.model("Label", {"label": fields.String(example="4"), "probability": fields.String(example="0.9987")})
    return api.model(
        "LabelPrediction",
        {
            "most_probable_label": fields.String(example="4"),
            "predictions": fields.List(fields.Nested(label)),
            "success": fields.Boolean(example=True),
        },
    )


DIGIT = ImageRoute(
    path="/tf/mnist/<model>",
    operation="classify_digit",
    summary="""The most probable digits of an image

    The headers X-Model-Name and X-Model-Version name the model and version that answered.
    """,
    needs=params.DIGITS,
    answers=("The best answers", _classification_model),
    reply=_classification,
    query={LIMIT: "How many answers, 1 to all"},
)
LABEL = ImageRoute(
    path="/predictlabel",
    operation="predict_label",
    summary="Every label with its probability, from the default model",
    needs=params.IMAGES,
    answers=("All labels", _label_prediction_model),
    reply=_label_prediction,
    query={},
)
