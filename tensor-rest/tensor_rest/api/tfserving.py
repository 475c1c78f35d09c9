"""TensorFlow Serving's own REST API under /v1, so that its clients work with this address unchanged.

Paths, documents and the shape of errors, `{"error": "..."}`, are TensorFlow Serving's; the statuses are this gateway's.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import flask
import numpy as np
from flask_restx import Namespace, Resource
from google.protobuf.json_format import MessageToDict

from tensor_rest.api import params, requests, versions
from tensor_rest.api.documents import SERVING, Documents
from tensor_rest.api.predict import output_names, read_json, signature_name
from tensor_rest.backend import VersionState
from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.backend.status import Code
from tensor_rest.inference.metadata import SIGNATURE, Target
from tensor_rest.payloads import json_body, tensor_json, tf_example
from tensor_rest.payloads.tensor_json import Array
from tensor_rest.runtime.reply import JSON

_PREDICTION = "/tensorflow.serving.PredictionService/"
_MODEL = "/tensorflow.serving.ModelService/"
_CODES = {int(code): code.name for code in Code}


def add(api: Namespace, documents: Documents) -> None:
    """Add the routes."""
    _add_predict(api, documents)
    _add_examples(api, documents)
    _add_status(api, documents)


def _add_predict(api: Namespace, documents: Documents) -> None:
    request = documents.api.models["PredictRequest"]
    errors = _errors(documents)

    @versions.route(api, "/v1/models", ":predict", "serving_predict")
    class ServingPredict(Resource):
        @api.expect(request, validate=False)
        @api.doc(vendor={"x-needs": params.TENSORS}, responses={200: "predictions, or outputs", **errors})
        def post(self, model: str, version: str | None = None, label: str | None = None) -> flask.Response:
            """Run a signature on tensors"""
            target = requests.target(model, version, label)
            outputs = output_names()
            with _document() as document:
                read, by_rows = read_json(document)
                prediction = requests.service().predict(target, signature_name(document) or SIGNATURE, read, outputs)
            return requests.marked(_tensors(prediction.outputs, by_rows), model, prediction.version)


def _add_examples(api: Namespace, documents: Documents) -> None:
    request = api.schema_model(
        "ExamplesRequest",
        {
            "type": "object",
            "properties": {
                "signature_name": {"type": "string"},
                "context": {"type": "object", "description": "Features of every example"},
                "examples": {"type": "array", "items": {"type": "object"}, "minItems": 1},
            },
            "required": ["examples"],
            "example": {"examples": [{"x": 1.0}]},
        },
    )
    errors = _errors(documents)

    @versions.route(api, "/v1/models", ":classify", "serving_classify")
    class ServingClassify(Resource):
        @api.expect(request, validate=False)
        @api.doc(
            vendor={"x-needs": params.CLASSIFY},
            responses={200: "results: [[label, score], ...] for each example", **errors},
        )
        def post(self, model: str, version: str | None = None, label: str | None = None) -> flask.Response:
            """Classify examples (features in, labels with scores out)"""
            target = requests.target(model, version, label)
            sent = _of_examples(pb.ClassificationRequest)
            answer = requests.service().call(target, f"{_PREDICTION}Classify", sent, pb.ClassificationResponse)
            results = tf_example.classes(answer.result)
            return _results(results, [score for row in results for _, score in row], answer)

    @versions.route(api, "/v1/models", ":regress", "serving_regress")
    class ServingRegress(Resource):
        @api.expect(request, validate=False)
        @api.doc(vendor={"x-needs": params.REGRESS}, responses={200: "results: one number for each example", **errors})
        def post(self, model: str, version: str | None = None, label: str | None = None) -> flask.Response:
            """Regress examples (features in, one number each out)"""
            target = requests.target(model, version, label)
            sent = _of_examples(pb.RegressionRequest)
            answer = requests.service().call(target, f"{_PREDICTION}Regress", sent, pb.RegressionResponse)
            results = tf_example.values(answer.result)
            return _results(results, results, answer)


def _add_status(api: Namespace, documents: Documents) -> None:
    errors = _errors(documents)

    @versions.route(api, "/v1/models", "", "serving_status", "get")
    class ServingStatus(Resource):
        @api.doc(responses={200: "model_version_status: version, state, status", **errors})
        def get(self, model: str, version: str | None = None, label: str | None = None) -> flask.Response:
            """States of a model's versions"""
            target = requests.target(model, version, label)

            def sent(at: Target) -> pb.GetModelStatusRequest:
                return pb.GetModelStatusRequest(model_spec=_spec(at))

            merged = requests.service().catalogue.merged_states(target)
            if merged is not None:
                return _json({"model_version_status": [_document_of(state) for state in merged]})
            path = f"{_MODEL}GetModelStatus"
            answer = requests.service().call(target, path, sent, pb.GetModelStatusResponse, of_all=True)
            return _json({"model_version_status": [_status(item) for item in answer.model_version_status]})

    @versions.route(api, "/v1/models", "/metadata", "serving_metadata", "get")
    class ServingMetadata(Resource):
        @api.doc(responses={200: "model_spec, and metadata with its signature_def", **errors})
        def get(self, model: str, version: str | None = None, label: str | None = None) -> flask.Response:
            """Signatures of a model"""
            metadata = requests.service().metadata(requests.target(model, version, label))
            signatures = MessageToDict(
                pb.SignatureDefMap(signature_def=metadata.signatures),
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            spec = {"name": model, "signature_name": "", "version": str(metadata.version)}
            return _json({"model_spec": spec, "metadata": {"signature_def": signatures}})


def _errors(documents: Documents) -> dict[int, Any]:
    """Return `responses`: the statuses of all routes, with TensorFlow Serving's error document."""
    responses = documents.errors(400, 409, 413, *SERVING)
    return {status: (text, documents.serving_error) for status, (text, _) in responses.items()}


def _document() -> AbstractContextManager[dict[str, Any]]:
    """The body as a JSON object; text after it is ignored, as TensorFlow Serving does."""
    return requests.json_object(trailing=True)


def _of_examples(
    kind: type[pb.ClassificationRequest] | type[pb.RegressionRequest],
) -> Callable[[Target], pb.ClassificationRequest | pb.RegressionRequest]:
    """Read the examples in the body; return a function that makes the message for a target."""
    with _document() as document:
        name, sent = signature_name(document), tf_example.read(document)
    return lambda at: kind(model_spec=_spec(at, name), input=sent)


def _spec(target: Target, signature: str = "") -> pb.ModelSpec:
    spec = pb.ModelSpec(name=target.model, signature_name=signature, version_label=target.label)
    if target.version is not None:
        spec.version.value = target.version
    return spec


def _tensors(outputs: Mapping[str, Array], by_rows: bool) -> flask.Response:
    if by_rows:
        document = {"predictions": tensor_json.to_rows(outputs, as_serving=True)}
    else:
        columns = {alias: tensor_json.to_column(alias, outputs[alias], as_serving=True) for alias in sorted(outputs)}
        document = {"outputs": columns if len(columns) > 1 else next(iter(columns.values()), {})}
    finite = all(array.dtype.kind != "f" or np.isfinite(array).all() for array in outputs.values())
    return _json(document, nan=not finite)


def _results(
    results: list[Any], scores: list[np.float32], answer: pb.ClassificationResponse | pb.RegressionResponse
) -> flask.Response:
    found = _json({"results": results}, nan=not np.isfinite(scores).all())
    return requests.marked(found, answer.model_spec.name, answer.model_spec.version.value)


def _status(item: pb.ModelVersionStatus) -> dict[str, Any]:
    status = {
        "error_code": _CODES.get(item.status.error_code, "UNKNOWN"),
        "error_message": item.status.error_message,
    }
    state = pb.ModelVersionStatus.State.Name(item.state)
    return {"version": str(item.version), "state": state, "status": status}


def _document_of(state: VersionState) -> dict[str, Any]:
    status = {"error_code": "OK", "error_message": state.error}
    return {"version": str(state.version), "state": state.state, "status": status}


def _json(document: dict[str, Any], *, nan: bool = False) -> flask.Response:
    text = json_body.dumps_with_nan(document) if nan else json_body.dumps(document)
    return flask.Response(text, mimetype=JSON)
