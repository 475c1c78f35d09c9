"""What is wrong with a JSON value that `json_in` does not take, found by looking at it element by element.

Rules and texts are those of the real server.
"""

import base64
import binascii
import json
import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tensor_serving.embedded import dtypes
from tensor_serving.embedded.errors import ServingError, invalid, unimplemented

MOST_DIMENSIONS = 32  # numpy 1's limit
EXACT = {types_pb2.DT_HALF: 2**11 - 1, types_pb2.DT_FLOAT: 2**24 - 1, types_pb2.DT_DOUBLE: 2**53 - 1}
_LARGEST = {dtype: float(np.finfo(dtypes.to_numpy(dtype)).max) for dtype in EXACT}
_INTEGERS = {
    types_pb2.DT_INT8,
    types_pb2.DT_INT16,
    types_pb2.DT_INT32,
    types_pb2.DT_INT64,
    types_pb2.DT_UINT8,
    types_pb2.DT_UINT16,
    types_pb2.DT_UINT32,
    types_pb2.DT_UINT64,
}
_MOST_LOOKED_AT = 500_000  # elements, about a second
_LONGEST = 256  # characters of a value shown; the real server shows all of it
_TYPES = {type(None): "Null", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}


def problem(value: Any, dtype: int) -> ServingError:
    """Return what keeps a value from being a tensor of this dtype: it is ragged, or an element is of another type."""
    try:
        _look(value, _shape(value), dtype, 0)
    except ServingError as error:
        return error
    return _unnamed(dtype)


def row_problem(instances: list[Any], infos: Mapping[str, meta_graph_pb2.TensorInfo], named: bool) -> ServingError:
    """Return what keeps instances from being rows of tensors; `named` ones are objects by alias."""
    shapes: dict[str, list[int]] = {}
    looked = 0
    for number, item in enumerate(instances):
        if is_object(item) != named:
            expected = "object but got list" if named else "value/list but got object"
            return invalid(f"Expecting {expected} at item {number} of input list")
        for alias, value in item.items() if named else [(next(iter(infos)), item)]:
            try:
                looked = _look_at_input(alias, value, infos, shapes, looked)
            except ServingError as error:
                key = f" key: {alias}" if named else ""
                return invalid(
                    f"Failed to process element: {number}{key} of 'instances' list. "
                    f"Error: {error.code.name}: {error.text}"
                )
        if named and item.keys() != infos.keys():
            return invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: {show(item)} "
                f"must only have keys: {','.join(sorted(infos))}"
            )
    return _unnamed(next(iter(infos.values())).dtype)


def to_bytes(value: Any) -> bytes:
    """Return the bytes of {"b64": "..."}; padding may be left out. Raises ServingError INVALID_ARGUMENT."""
    if is_object(value) or type(value) is not dict:
        raise invalid(f"JSON Value: {show(value)} not formatted correctly for base64 data")
    try:
        text = "".join(value["b64"].split()).rstrip("=").encode("ascii")
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise invalid("Unable to base64 decode") from error


def is_object(value: Any) -> bool:
    """Tell whether a value is a JSON object, and not base64 data."""
    return type(value) is dict and not (len(value) == 1 and type(value.get("b64")) is str)


def type_name(value: Any) -> str:
    """Return what the real server calls the type of a JSON value."""
    return str(value) if type(value) is bool else _TYPES[type(value)]


def show(value: Any) -> str:
    """Return a value as JSON, cut to a length fit for a message."""
    try:
        text = "".join(islice(json.JSONEncoder(ensure_ascii=False).iterencode(value), _LONGEST))
    except RecursionError:
        text = "[...]"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def loses(value: float, dtype: int) -> bool:
    """Tell whether a number loses more in a float dtype than the rounding of a decimal."""
    if type(value) is int:
        return abs(value) > EXACT[dtype]
    return abs(value) > _LARGEST[dtype] and math.isfinite(value)


def check_decimal(value: float, dtype: int) -> None:
    """Raise INVALID_ARGUMENT when the number loses in a float dtype."""
    if loses(value, dtype):
        raise invalid(f"Cannot convert JSON value: {show(value)} to {dtypes.name(dtype)} without loss of precision.")


def _look_at_input(
    alias: str, value: Any, infos: Mapping[str, meta_graph_pb2.TensorInfo], shapes: dict[str, list[int]], looked: int
) -> int:
    """Raise what is wrong with one instance's input, in itself or beside those before it; count its elements."""
    if alias not in infos:
        raise invalid(f"JSON object: does not have named input: {alias}")
    shape = _shape(value)
    looked = _look(value, shape, infos[alias].dtype, looked)
    before = shapes.setdefault(alias, shape)
    if math.prod(shape) != math.prod(before):
        raise invalid(f"Expecting tensor size: {math.prod(before)} but got: {math.prod(shape)}")
    if shape != before:
        raise invalid(f"Expecting shape {_written(before)} but got: {_written(shape)}")
    return looked


def _shape(value: Any) -> list[int]:
    """Return the shape a value has if it is not ragged, from its first elements."""
    shape = []
    while type(value) is list:
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    if len(shape) > MOST_DIMENSIONS:
        raise invalid(f"a tensor of {len(shape)} dimensions has too many, at most {MOST_DIMENSIONS} are supported")
    return shape


def _look(value: Any, shape: list[int], dtype: int, looked: int, level: int = 0) -> int:
    """Raise what is wrong with the first element, or list, that is not of this dtype, or shape; count the elements."""
    if type(value) is not list:
        if level != len(shape):
            raise invalid(
                f"JSON Value: {show(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        if looked == _MOST_LOOKED_AT:
            raise _unnamed(dtype)
        _check(value, dtype)
        return looked + 1
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        looked = _look(item, shape, dtype, looked, level + 1)
    return looked


def _check(value: Any, dtype: int) -> None:
    """Raise ServingError when the value is not of this dtype."""
    kind = type(value)
    if dtype == dtypes.STRING:
        fits = kind in (str, dict)
        if kind is dict:
            to_bytes(value)
    elif dtype == types_pb2.DT_BOOL:
        fits = kind is bool
    elif dtype in EXACT:
        fits = kind in (int, float)
        if fits:
            check_decimal(value, dtype)
    elif dtype in _INTEGERS:
        # The real server lets 300 pass for a uint8 and sends 44 to the graph.
        limits = np.iinfo(dtypes.to_numpy(dtype))
        fits = kind is int and limits.min <= value <= limits.max
    else:
        raise unimplemented(f"Conversion of JSON Value: {show(value)} to type: {dtypes.name(dtype)}")
    if not fits:
        raise invalid(
            f"JSON Value: {show(value)} Type: {type_name(value)} is not of expected type: {dtypes.name(dtype)}"
        )


def _unnamed(dtype: int) -> ServingError:
    return invalid(
        f"the value is no tensor of type: {dtypes.name(dtype)}; what is wrong comes after its first "
        f"{_MOST_LOOKED_AT} elements"
    )


def _written(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
