"""The REST routes, as Flask-RESTX resources so that the specification and Swagger UI come from the same lines."""

import re
from typing import Any

import flask
from flask_restx import Api, Resource, fields
from werkzeug.datastructures import FileStorage

from . import __version__
from .errors import BadRequestError, ConflictError
from .gateway import Answer, Gateway
from .settings import Settings

_DEFAULT_LIMIT = 3
_DIGITS = 6  # of a probability: what float32 is good for


class _Api(Api):
    """Flask-RESTX without its own shape of errors: the application's handler answers them all."""

    def error_router(self, original_handler: Any, e: Exception) -> Any:
        return original_handler(e)


def init_app(app: flask.Flask, settings: Settings) -> None:
    """Add the routes and `/tf/swagger.json`."""
    app.config["RESTX_MASK_SWAGGER"] = False
    api = _Api(
        version=__version__,
        title="tensor-lab",
        description="Pictures in, answers of the served models out. Every error is JSON: message, code, request_id.",
        doc=False,
        default="lab",
        default_label="Classify pictures, see what is served",
    )
    documents = _Documents(api)
    _add_classify(api, documents)
    _add_predictlabel(api, documents, settings.default_model)
    _add_models(api, documents)
    api.init_app(app, add_specs=False)
    app.add_url_rule("/tf/swagger.json", "specification", lambda: flask.jsonify(api.__schema__))


class _Documents:
    """Requests and answers as the specification shows them."""

    def __init__(self, api: Api) -> None:
        self.upload = api.parser().add_argument(
            "image", type=FileStorage, location="files", required=True, help="PNG, JPEG, BMP, WEBP or GIF"
        )
        self.upload_limit = self.upload.copy().add_argument(
            "limit", type=int, location="args", default=_DEFAULT_LIMIT, help="How many answers, 1 to all"
        )
        digit = api.model("Digit", {"digit": fields.Integer(example=2), "probability": fields.Float(example=0.998)})
        self.digits = api.model("Classification", {"classification_result": fields.List(fields.Nested(digit))})
        label = api.model(
            "Label", {"label": fields.String(example="4"), "probability": fields.String(example="0.9987")}
        )
        self.labels = api.model(
            "LabelPrediction",
            {
                "most_probable_label": fields.String(example="4"),
                "predictions": fields.List(fields.Nested(label)),
                "success": fields.Boolean(example=True),
            },
        )
        self.error = api.model(
            "Error",
            {"message": fields.String, "code": fields.Integer(example=404), "request_id": fields.String},
        )
        self._api = api

    def errors(self, *codes: int) -> dict[int, Any]:
        texts = {
            400: "No picture, or a broken one",
            404: "No such model",
            409: "This model cannot do this",
            413: "Too many bytes or pixels",
            415: "Not a picture",
            429: "Serving is busy",
            503: "Serving does not answer",
            504: "Serving is too slow",
        }
        return {code: (texts[code], self.error) for code in codes}


def _add_classify(api: Api, documents: _Documents) -> None:
    @api.route("/tf/mnist/<model>")
    @api.doc(params={"model": "Name of a served model"})
    class Mnist(Resource):
        @api.expect(documents.upload_limit, validate=False)
        @api.doc(
            id="classify_digit",
            responses={
                200: ("The best answers", documents.digits),
                **documents.errors(400, 404, 409, 413, 415, 429, 503, 504),
            },
        )
        def post(self, model: str) -> flask.Response:
            """Which digit is this? The headers X-Model-Name and X-Model-Version say who answered."""
            limit = _limit()
            answer = _gateway().classify(model, _image())
            if limit > len(answer.ranking):
                raise BadRequestError(f"limit={limit} is over the {len(answer.ranking)} labels of model {model!r}.")
            best = [
                {"digit": _digit(label, model), "probability": round(score, _DIGITS)}
                for label, score in answer.ranking[:limit]
            ]
            return _answered(answer, {"classification_result": best})


def _add_predictlabel(api: Api, documents: _Documents, model: str) -> None:
    @api.route("/predictlabel")
    class PredictLabel(Resource):
        @api.expect(documents.upload, validate=False)
        @api.doc(
            id="predict_label",
            responses={
                200: ("All labels", documents.labels),
                **documents.errors(400, 404, 409, 413, 415, 429, 503, 504),
            },
        )
        def post(self) -> flask.Response:
            """Every label with its probability, from the default model."""
            answer = _gateway().classify(model, _image())
            predictions = [{"label": label, "probability": f"{score:.4f}"} for label, score in answer.ranking]
            document = {"most_probable_label": answer.ranking[0][0], "predictions": predictions, "success": True}
            return _answered(answer, document)


def _add_models(api: Api, documents: _Documents) -> None:
    @api.route("/tf/models")
    class Models(Resource):
        @api.doc(id="list_models")
        def get(self) -> flask.Response:
            """What is served: models, versions and their states, what is quarantined and why."""
            return flask.jsonify(_gateway().models())

    @api.route("/tf/models/<model>")
    @api.doc(params={"model": "Name of a served model"})
    class Model(Resource):
        @api.doc(id="describe_model", responses={200: "The model", **documents.errors(404, 503, 504)})
        def get(self, model: str) -> flask.Response:
            """One model: versions and states, and signatures and card of the newest version."""
            return flask.jsonify(_gateway().model(model))


def _gateway() -> Gateway:
    gateway: Gateway = flask.current_app.extensions["gateway"]
    return gateway


def _image() -> bytes:
    upload = flask.request.files.get("image")
    if upload is None:
        raise BadRequestError(
            "Send the picture as multipart/form-data in the field 'image'; this request has no such file."
        )
    return upload.read()


def _limit() -> int:
    text = flask.request.args.get("limit", str(_DEFAULT_LIMIT))
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise BadRequestError(f"limit={text[:20]!r} is no number of answers; wanted 1 or more.")
    return int(text)


def _digit(label: str, model: str) -> int:
    if not (label.isascii() and label.isdigit()):
        raise ConflictError(f"Model {model!r} answers labels such as {label!r}; this route answers digits.")
    return int(label)


def _answered(answer: Answer, document: dict[str, Any]) -> flask.Response:
    response = flask.jsonify(document)
    response.headers["X-Model-Name"] = answer.model
    response.headers["X-Model-Version"] = str(answer.version)
    return response
