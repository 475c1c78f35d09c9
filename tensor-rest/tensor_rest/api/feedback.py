"""/tf/models/<model>/feedback: store an image with its right label for training, and count those stored."""

from typing import Any

import flask
from flask_restx import Namespace, Resource, fields
from werkzeug.datastructures import FileStorage

from tensor_rest.api import params, requests, versions
from tensor_rest.api.documents import SERVING, Documents
from tensor_rest.errors import BadRequestError


def add(api: Namespace, documents: Documents) -> None:
    """Add the routes."""
    request = api.parser()
    request.add_argument("image", type=FileStorage, location="files", required=True, help="The image")
    request.add_argument("label", location="form", required=True, help="What it was: one of the model's labels")
    answer, count = _documents(api)
    responses = {
        200: ("Known already", answer),
        201: ("Kept", answer),
        **documents.errors(400, 409, 413, 415, 507, *SERVING),
    }
    count_responses = {200: ("How many", count), **documents.errors(404, 409, *SERVING)}
    needs = {"x-needs": params.IMAGES if documents.keeps_feedback else params.FOLDER}

    @api.route("/tf/models/<model>/feedback")
    @api.doc(params=versions.MODEL)
    class Feedback(Resource):
        @api.doc(id="count_feedback", responses=count_responses, vendor=needs)
        def get(self, model: str) -> flask.Response:
            """How many images are kept, and how many since the default version was made

            The latter have not been used for training yet.
            """
            return flask.jsonify(requests.service().corrections(model))

        @api.expect(request, validate=False)
        @api.doc(id="give_feedback", responses=responses, vendor=needs)
        def post(self, model: str) -> flask.Response:
            """Keep an image with its right label

            For training, where the gateway is configured to keep feedback.
            """
            return _keep(model)

        @api.expect(request, validate=False)
        @api.doc(id="put_feedback", responses=responses, vendor=needs)
        def put(self, model: str) -> flask.Response:
            """Keep an image with its right label, as POST does

            Sending an image twice changes nothing; another label replaces the first.
            """
            return _keep(model)


def _documents(api: Namespace) -> tuple[Any, Any]:
    """Return the response schemas: of one stored image, and of the count."""
    answer = api.model(
        "Feedback",
        {
            "model": fields.String(example="mnist-net"),
            "version": fields.Integer(example=1),
            "predicted": fields.String(description="The model's label", example="7"),
            "label": fields.String(description="What it was", example="1"),
            "stored": fields.Boolean(description="False if it was known already"),
        },
    )
    count = api.model(
        "FeedbackCount",
        {
            "model": fields.String(example="mnist-net"),
            "version": fields.Integer(description="The default one", example=1),
            "samples": fields.Integer(description="All that are kept", example=12),
            "since_version": fields.Integer(description="Those kept since the version was made", example=5),
        },
    )
    return answer, count


def _keep(model: str) -> flask.Response:
    service = requests.service()
    service.feedback.folder()
    label = flask.request.args.get("label") or flask.request.form.get("label", "")
    if not label:
        raise BadRequestError("The label is missing: send it in the form's field 'label', or as ?label=.")
    answer, kept = service.keep(requests.target(model), requests.image(), label)
    document = {"model": model, "version": answer.version, "predicted": answer.ranking[0][0], "label": label}
    response = requests.answered({**document, "stored": kept.new}, model, answer.version)
    response.status_code = 201 if kept.new else 200
    return response
