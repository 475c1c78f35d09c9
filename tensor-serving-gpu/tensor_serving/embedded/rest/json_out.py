"""Tensors and results as JSON, floats with as many digits as their dtype needs."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from tensorflow_serving.apis import classification_pb2, regression_pb2

from tensor_serving.embedded import dtypes
from tensor_serving.embedded.errors import invalid
from tensor_serving.embedded.tensors import Array

_BYTES_SUFFIX = "_bytes"  # suffix of the aliases of outputs that are bytes, not text


def rows(outputs: Mapping[str, Array]) -> bytes:
    """Return {"predictions": [...]}, an element per row: the value of the only output, or an object by alias.

    Raises ServingError INVALID_ARGUMENT when the outputs differ in their number of rows.
    """
    _check_rows(outputs)
    columns = {alias: _value(alias, array) for alias, array in sorted(outputs.items())}
    if len(columns) == 1:
        return _dump({"predictions": next(iter(columns.values()))}, outputs)
    predictions = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _dump({"predictions": predictions}, outputs)


def columns(outputs: Mapping[str, Array]) -> bytes:
    """Return {"outputs": ...}: the only output, or an object by alias. Raises ServingError INVALID_ARGUMENT."""
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    values = {alias: _value(alias, array) for alias, array in sorted(outputs.items())}
    return _dump({"outputs": next(iter(values.values())) if len(values) == 1 else values}, outputs)


def classification(result: classification_pb2.ClassificationResult) -> bytes:
    """Return {"results": [[[label, score], ...], ...]}, a list of classes per example."""
    scores = [np.array([found.score for found in example.classes], np.float32) for example in result.classifications]
    labels = [[found.label for found in example.classes] for example in result.classifications]
    results = [[list(pair) for pair in zip(*pairs, strict=True)] for pairs in zip(labels, scores, strict=True)]
    return _dump({"results": results}, {"scores": np.concatenate(scores)})


def regression(result: regression_pb2.RegressionResult) -> bytes:
    """Return {"results": [...]}, a number per example."""
    values = np.array([found.value for found in result.regressions], np.float32)
    return _dump({"results": values}, {"values": values})


def _check_rows(outputs: Mapping[str, Array]) -> None:
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    expected = None
    for alias, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {alias} has no shape information ")
        if expected is not None and len(array) != expected:
            raise invalid(f"Tensor name: {alias} has inconsistent batch size: {len(array)} expecting: {expected}")
        expected = len(array)


def _value(alias: str, array: Array) -> Any:
    """Return a value that orjson can write: an array or scalar of a supported dtype, or nested lists of strings."""
    if array.dtype == object:
        return _strings(array.tolist(), alias.endswith(_BYTES_SUFFIX))
    if array.size and (array.dtype.kind not in "biuf" or array.dtype.isbuiltin != 1):
        name = dtypes.name(dtypes.to_number(array.dtype))
        text = f"Failed to write JSON value for tensor type: {name}, that of output {alias!r}; gRPC can return it"
        raise invalid(text)
    return np.ascontiguousarray(array) if array.ndim else array[()]


def _strings(value: Any, binary: bool) -> Any:
    if isinstance(value, list):
        return [_strings(item, binary) for item in value]
    if binary:
        return {"b64": base64.b64encode(value).decode()}
    # TF Serving writes the bytes unchanged, so its document may not be valid JSON.
    return value.decode(errors="replace")


def _dump(document: Any, outputs: Mapping[str, Array]) -> bytes:
    """Return the document as JSON; as in TF Serving with NaN and Infinity, which strict parsers refuse."""
    if all(array.dtype.kind != "f" or np.isfinite(array).all() for array in outputs.values()):
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(document, default=_plain, ensure_ascii=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    """Return an array or scalar as lists of Python's numbers; floats by their shortest text, not their exact value."""
    array = np.asarray(value)
    return (array.astype("U32").astype(np.float64) if array.dtype.kind == "f" else array).tolist()
