"""POST /tf/models/<model>[/versions/<version>|/labels/<label>]/predict: any model, any signature."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeGuard

import flask
from flask_restx import Namespace, Resource

from tensor_rest.api import params, requests, versions
from tensor_rest.api.documents import SERVING, Documents
from tensor_rest.backend import Prediction
from tensor_rest.errors import BadRequestError
from tensor_rest.inference.metadata import SIGNATURE
from tensor_rest.payloads import body_memory, json_body, npy, tensor_json
from tensor_rest.payloads.tensor_json import Array, Infos
from tensor_rest.runtime.reply import JSON

_KINDS = (JSON, npy.NPY, npy.NPZ)
_UNPACKED = 2  # an .npz may unpack to this many times the largest body
_ROWS = {"type": "array", "items": {}, "minItems": 1, "description": "Rows: values, or objects by alias"}
_COLUMNS = {"description": "Columns: whole tensors by alias, or the value itself where there is one input"}
_OUTPUTS = {"type": "array", "items": {"type": "string"}, "description": "Names of the outputs wanted; all if left out"}
_QUERY = {
    "signature": {"in": "query", "description": f"Which signature; {SIGNATURE} if left out"},
    "outputs": {"in": "query", "description": "Which outputs, separated by commas; all if left out"},
}

Read = Callable[[Infos], dict[str, Array]]


def add(api: Namespace, documents: Documents) -> None:
    """Add the routes."""
    named = {"signature_name": {"type": "string"}, "instances": _ROWS, "inputs": _COLUMNS, "outputs": _OUTPUTS}
    request = api.schema_model("PredictRequest", {"type": "object", "properties": named})
    answer = api.schema_model(
        "PredictAnswer",
        {
            "type": "object",
            "properties": {
                "model": {"type": "string"},
                "version": {"type": "integer"},
                "signature": {"type": "string"},
                "predictions": {"type": "array", "items": {}, "description": "For instances"},
                "outputs": {"type": "object", "description": "For inputs and arrays: tensors by alias"},
            },
            "required": ["model", "version", "signature"],
        },
    )

    @versions.route(api, "/tf/models", "/predict", "predict")
    @api.doc(params=_QUERY)
    class Predict(Resource):
        @api.expect(request, validate=False)
        @api.doc(
            vendor={"x-needs": params.TENSORS},
            responses={200: ("What the model answers", answer), **documents.errors(400, 409, 413, 415, *SERVING)},
        )
        def post(self, model: str, version: str | None = None, label: str | None = None) -> flask.Response:
            """Run any signature of any model on tensors.

            JSON as TensorFlow Serving's REST API takes it, one array as .npy (application/x-npy), or several by alias
            as .npz (application/x-npz). The header Accept selects any of the three for the answer.
            """
            target = requests.target(model, version, label)
            kind = flask.request.accept_mimetypes.best_match(_KINDS, JSON)
            with _request() as (signature, read, by_rows, outputs):
                prediction = requests.service().predict(target, signature, read, outputs)
            response = _response(model, prediction, kind, by_rows)
            return requests.marked(response, model, prediction.version)


def read_json(document: dict[str, Any]) -> tuple[Read, bool]:
    """Return the function that makes the inputs of a JSON request, and whether the request is by rows."""
    keys = document.keys() & {"instances", "inputs"}
    if len(keys) != 1:
        found = "both" if keys else "neither"
        raise BadRequestError(f'The JSON must hold one of "instances" (rows) and "inputs" (columns); it has {found}.')
    if "instances" in keys:
        return lambda infos: tensor_json.from_rows(document["instances"], infos), True
    return lambda infos: tensor_json.from_columns(document["inputs"], infos), False


def signature_name(document: dict[str, Any]) -> str:
    """The signature a JSON request names, "" if none."""
    name = document.get("signature_name", "")
    if not _is_name(name):
        raise BadRequestError('"signature_name" must be the name of a signature, a text.')
    return name


def output_names(document: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Return the names in the query outputs=a,b and in the list `outputs` of `document`; none: all outputs."""
    named = (document or {}).get("outputs", [])
    if not isinstance(named, list) or not all(map(_is_name, named)):
        raise BadRequestError('"outputs" must be a list of names of outputs, such as ["scores"].')
    listed = [name for text in flask.request.args.getlist("outputs") for name in text.split(",") if name]
    return tuple(dict.fromkeys([*named, *listed]))


def _is_name(value: Any) -> TypeGuard[str]:
    """Whether a JSON value is a printable text: lone surrogates, which protobuf cannot hold, are not printable."""
    return isinstance(value, str) and value.isprintable()


@contextmanager
def _request() -> Iterator[tuple[str, Read, bool, tuple[str, ...]]]:
    """Yield the signature's name, the reader of its inputs, whether the answer is by rows, and the wanted outputs."""
    requests.refuse_form()
    signature = flask.request.args.get("signature", "")
    if flask.request.mimetype in (npy.NPY, npy.NPZ):
        data = flask.request.get_data()
        max_bytes = _UNPACKED * flask.current_app.config["MAX_CONTENT_LENGTH"]
        packed = flask.request.mimetype == npy.NPZ
        size = npy.unpacked_bytes(data, max_bytes) if packed else len(data)
        body_memory.reserve(len(data), size)
        with json_body.large_body_slot(size, arrays=True):
            arrays = npy.loads_all(data, max_bytes) if packed else {"": npy.loads(data)}  # a single .npy has no name
            yield signature or SIGNATURE, lambda infos: tensor_json.fitted(arrays, infos), False, output_names()
        return
    with requests.json_object() as document:
        named = signature_name(document)
        if named and signature and named != signature:
            raise BadRequestError(f'signature={signature[:80]!r} and "signature_name" {named[:80]!r} differ.')
        yield (named or signature or SIGNATURE, *read_json(document), output_names(document))


def _response(model: str, prediction: Prediction, kind: str, by_rows: bool) -> flask.Response:
    outputs = prediction.outputs
    if kind == npy.NPZ:
        return flask.Response(npy.dumps_all(outputs), mimetype=kind)
    if kind == npy.NPY:
        if len(outputs) != 1:
            raise BadRequestError(f"The answer has {len(outputs)} arrays; Accept: {npy.NPZ} takes several.")
        return flask.Response(npy.dumps(next(iter(outputs.values()))), mimetype=kind)
    document: dict[str, Any] = {"model": model, "version": prediction.version, "signature": prediction.signature}
    if by_rows:
        document["predictions"] = tensor_json.to_rows(outputs)
    else:
        document["outputs"] = {alias: tensor_json.to_column(alias, array) for alias, array in sorted(outputs.items())}
    return requests.answered(document, model, prediction.version)
