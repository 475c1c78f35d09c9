"""The tf.Examples in the JSON body of a classify or regress request, by TensorFlow Serving's rules."""

from typing import Any, TypeVar

import numpy as np
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow_serving.apis import classification_pb2, regression_pb2

from tensor_serving.embedded.errors import ServingError, invalid
from tensor_serving.embedded.rest.json_in import is_object, to_bytes, type_name
from tensor_serving.embedded.rest.json_parse import Document, signature_name

_Request = TypeVar("_Request", classification_pb2.ClassificationRequest, regression_pb2.RegressionRequest)
_KINDS = {bool: "int64", int: "int64", float: "float", str: "bytes", dict: "bytes"}


def fill(request: _Request, document: Document) -> _Request:
    """Fill signature and examples of a request and return it; each example has the features of "context" as well.

    Raises ServingError INVALID_ARGUMENT when "examples" is not a list of objects, or a feature mixes types.
    """
    members = document.members
    request.model_spec.signature_name = signature_name(document)
    examples = request.input.example_list.examples
    if "context" in members:
        _fill(members["context"], request.input.example_list_with_context.context)
        examples = request.input.example_list_with_context.examples
    if type(members.get("examples")) is not list or not members["examples"]:
        raise invalid("JSON Value: the key 'examples' must be a list of at least one object")
    for value in members["examples"]:
        _fill(value, examples.add())
    return request


def _fill(value: Any, example: example_pb2.Example) -> None:
    if type(value) is not dict:
        raise invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    for name, content in value.items():
        example.features.feature[name].CopyFrom(_feature(name, content if type(content) is list else [content]))


def _feature(name: str, values: list[Any]) -> feature_pb2.Feature:
    kinds = {_KINDS.get(kind) for kind in set(map(type, values))}
    if not kinds:
        return feature_pb2.Feature()
    if kinds == {"bytes"} and not any(map(is_object, values)):
        encoded = [value.encode() if type(value) is str else to_bytes(value) for value in values]
        return feature_pb2.Feature(bytes_list=feature_pb2.BytesList(value=encoded))
    if kinds == {"float"}:
        with np.errstate(over="ignore"):  # infinity beyond float's range
            floats = np.array(values, np.float64).astype(np.float32)
        return feature_pb2.Feature(float_list=feature_pb2.FloatList(value=floats.tolist()))
    if kinds == {"int64"}:
        if max(values) >= 2**63:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
        return feature_pb2.Feature(int64_list=feature_pb2.Int64List(value=map(int, values)))
    raise _unfit(name, values)


def _unfit(name: str, values: list[Any]) -> ServingError:
    """Return the error for the first element that no feature can have, or whose type differs from those before it."""
    first = _KINDS.get(type(values[0]))
    for value in values:
        if _KINDS.get(type(value)) is None or is_object(value):
            return invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
        if _KINDS[type(value)] != first:
            break
    return invalid(f"Unexpected element type in feature: {name} expecting type: {first}")
