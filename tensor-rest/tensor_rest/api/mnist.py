"""The tutorial's two routes: POST /tf/mnist/<model> and POST /predictlabel."""

import flask
from flask_restx import Namespace, Resource, fields

from tensor_rest.api import params, requests
from tensor_rest.api.documents import SERVING, Documents
from tensor_rest.errors import BadRequestError, ConflictError
from tensor_rest.inference.metadata import Target
from tensor_rest.inference.service import InferenceService
from tensor_rest.runtime.reply import Reply

_FAULTS = (400, 409, 413, 415, *SERVING)


def add(api: Namespace, documents: Documents, default_model: str) -> None:
    """Add the routes."""
    _add_mnist(api, documents)
    _add_predictlabel(api, documents, default_model)


def _add_mnist(api: Namespace, documents: Documents) -> None:
    digit = api.model("Digit", {"digit": fields.Integer(example=2), "probability": fields.Float(example=0.998)})
    answer = api.model("Classification", {"classification_result": fields.List(fields.Nested(digit))})

    @api.route("/tf/mnist/<model>")
    @api.doc(params={"model": "Name of a served model"})
    class Mnist(Resource):
        @api.expect(documents.upload_limit, validate=False)
        @api.doc(
            id="classify_digit",
            vendor={"x-needs": params.DIGITS},
            responses={200: ("The best answers", answer), **documents.errors(*_FAULTS)},
        )
        def post(self, model: str) -> flask.Response:
            """Which digit is in this image?

            The headers X-Model-Name and X-Model-Version name the model and version that answered.
            """
            limit = requests.limit()
            return requests.response(classification(requests.service(), model, requests.image(), limit))


def _add_predictlabel(api: Namespace, documents: Documents, model: str) -> None:
    label = api.model("Label", {"label": fields.String(example="4"), "probability": fields.String(example="0.9987")})
    answer = api.model(
        "LabelPrediction",
        {
            "most_probable_label": fields.String(example="4"),
            "predictions": fields.List(fields.Nested(label)),
            "success": fields.Boolean(example=True),
        },
    )

    @api.route("/predictlabel")
    class PredictLabel(Resource):
        @api.expect(documents.upload, validate=False)
        @api.doc(
            id="predict_label",
            vendor={"x-needs": params.IMAGES},
            responses={200: ("All labels", answer), **documents.errors(*_FAULTS)},
        )
        def post(self) -> flask.Response:
            """Every label with its probability, from the default model"""
            return requests.response(label_prediction(requests.service(), model, requests.image()))


def classification(service: InferenceService, model: str, picture: bytes, limit: int) -> Reply:
    """The answer of /tf/mnist/<model>."""
    answer = service.classify(Target(model), [picture])
    ranking = answer.ranking
    if limit > len(ranking):
        raise BadRequestError(f"limit={limit} is over the {len(ranking)} labels of model {model!r}.")
    best = [
        {"digit": _digit(label, model), "probability": round(score, requests.DIGITS)}
        for label, score in ranking[:limit]
    ]
    return requests.reply({"classification_result": best}, model, answer.version)


def label_prediction(service: InferenceService, model: str, picture: bytes) -> Reply:
    """The answer of /predictlabel."""
    answer = service.classify(Target(model), [picture])
    ranking = answer.ranking
    predictions = [{"label": label, "probability": f"{score:.4f}"} for label, score in ranking]
    document = {"most_probable_label": ranking[0][0], "predictions": predictions, "success": True}
    return requests.reply(document, model, answer.version)


def _digit(label: str, model: str) -> int:
    if not (label.isascii() and label.isdigit()):
        raise ConflictError(
            f"Model {model!r} answers labels such as {label!r}; this route answers digits. "
            f"POST /tf/models/{model}/classify answers any label."
        )
    return int(label)
