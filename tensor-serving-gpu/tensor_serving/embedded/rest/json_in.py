"""The tensors of a predict request's document, without Python work per element.

They are given as rows ("instances") or as columns ("inputs"), by TensorFlow Serving's rules.
A list is flattened level by level and packed by `struct`, which accepts only numbers of the dtype: a float where an
integer is expected is refused, not truncated. Floats are rounded to their dtype, beyond its range to infinity.
"""

import base64
import binascii
import struct
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tensor_serving.embedded import dtypes
from tensor_serving.embedded.errors import ServingError, invalid, unimplemented
from tensor_serving.embedded.rest.json_parse import Document, show
from tensor_serving.embedded.tensors import MAX_DIMENSIONS, Array

Infos = Mapping[str, meta_graph_pb2.TensorInfo]

# uint16 is ours: TF Serving has no conversion for it.
_INTEGERS = {
    types_pb2.DT_INT8: "b",
    types_pb2.DT_UINT8: "B",
    types_pb2.DT_INT16: "h",
    types_pb2.DT_UINT16: "H",
    types_pb2.DT_INT32: "i",
    types_pb2.DT_UINT32: "I",
    types_pb2.DT_INT64: "q",
    types_pb2.DT_UINT64: "Q",
}
_FLOATS = {types_pb2.DT_FLOAT: "f", types_pb2.DT_DOUBLE: "d", types_pb2.DT_HALF: "e"}
_KINDS: dict[int, set[type]] = {
    **{dtype: {int} for dtype in _INTEGERS},
    **{dtype: {int, float} for dtype in _FLOATS},
    types_pb2.DT_BOOL: {bool},
    types_pb2.DT_STRING: {str, dict},
}
_TYPES = {
    type(None): "Null",
    bool: "Bool",
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
}


def inputs(document: Document, infos: Infos) -> tuple[dict[str, Array], bool]:
    """Return the signature's inputs by alias, and whether they are given as rows.

    Raises ServingError INVALID_ARGUMENT when they are missing, ragged, or not of the signature's dtypes.
    """
    members = document.members
    if "instances" not in members:
        if "inputs" not in members:
            raise invalid("Missing 'inputs' or 'instances' key")
        return _columns(members["inputs"], infos, document.truths), False
    if "inputs" in members:
        raise invalid("JSON Value: only one of the keys 'inputs' and 'instances' may be given")
    instances = members["instances"]
    if type(instances) is not list:
        raise invalid(f"JSON Value: 'instances' is {show(instances)}, must be a list")
    if not instances:
        raise invalid("JSON Value: no values in the list 'instances'")
    return _rows(instances, infos, document.truths), True


def _rows(instances: list[Any], infos: Infos, truths: bool) -> dict[str, Array]:
    """Return one array per input; "instances" is a list of values for a single input, else of objects by alias."""
    if type(instances[0]) is not dict and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            f"tensorinfo_map: {_names(infos)}"
        )
    named = is_object(instances[0])
    if not named:
        alias, info = next(iter(infos.items()))
        return {alias: tensor(alias, instances, info.dtype, truths)}
    for number, item in enumerate(instances):
        if type(item) is not dict or item.keys() != infos.keys():
            found = _names(item) if type(item) is dict else show(item)
            raise invalid(
                f"Failed to process element: {number} of 'instances' list: {found} "
                f"(expected an object with the keys {_names(infos)})"
            )
    return {a: tensor(a, [item[a] for item in instances], info.dtype, truths) for a, info in infos.items()}


def _columns(value: Any, infos: Infos, truths: bool) -> dict[str, Array]:
    """Return one array per input; "inputs" is the value of a single input, else an object by alias."""
    if not is_object(value):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                f"tensorinfo_map: {_names(infos)}"
            )
        value = {next(iter(infos)): value}
    for alias in infos:
        if alias not in value:
            raise invalid(f"Missing named input: {alias} in 'inputs' object.")
    return {alias: tensor(alias, value[alias], info.dtype, truths) for alias, info in infos.items()}


def tensor(alias: str, value: Any, dtype: int, truths: bool) -> Array:
    """Return the tensor of a JSON value. Raises ServingError INVALID_ARGUMENT when it is not one of this dtype."""
    try:
        flat, shape = _flatten(value, dtype == dtypes.STRING)
        if truths and dtype != types_pb2.DT_BOOL and bool in set(map(type, flat)):
            raise TypeError("a truth value passes for a number in Python")
        return _array(flat, dtype).reshape(shape)
    except (KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise _problem(alias, value, dtype) from error


def to_bytes(value: Any) -> bytes:
    """Return the bytes of {"b64": "..."}, by TF Serving's rules: white space is ignored, padding may be left out.

    Raises ServingError INVALID_ARGUMENT.
    """
    if is_object(value) or type(value) is not dict:
        raise invalid(f"JSON Value: {show(value)} not formatted correctly for base64 data")
    try:
        text = b"".join(value["b64"].encode("ascii").split())
        data = text.rstrip(b"=.")
        missing = -len(data) % 4
        if len(text) - len(data) not in (0, missing):
            raise binascii.Error("incorrect padding")
        return base64.b64decode(data + b"=" * missing, validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise invalid("Unable to base64 decode") from error


def is_object(value: Any) -> bool:
    """Return whether a value is a JSON object, and not base64 data."""
    return type(value) is dict and not (len(value) == 1 and type(value.get("b64")) is str)


def type_name(value: Any) -> str:
    """Return TF Serving's name of the type of a JSON value."""
    return str(value) if type(value) is bool else _TYPES[type(value)]


def _array(flat: list[Any], dtype: int) -> Array:
    if dtype in (dtypes.STRING, types_pb2.DT_BOOL) and not set(map(type, flat)) <= _KINDS[dtype]:
        raise TypeError("an element of another type")
    if dtype == dtypes.STRING:
        array = np.empty(len(flat), object)
        array[:] = [item.encode() if type(item) is str else to_bytes(item) for item in flat]
        return array
    if dtype == types_pb2.DT_BOOL:
        return np.array(flat, bool)
    numpy = dtypes.to_numpy(dtype)
    if dtype in _FLOATS:
        try:
            return np.frombuffer(struct.pack(f"{len(flat)}{_FLOATS[dtype]}", *flat), numpy)
        except (OverflowError, struct.error):  # infinity beyond the dtype's range
            if not set(map(type, flat)) <= _KINDS[dtype]:  # numpy would accept a number given as text
                raise
            with np.errstate(over="ignore"):
                return np.array(flat, np.float64).astype(numpy)
    return np.frombuffer(struct.pack(f"{len(flat)}{_INTEGERS[dtype]}", *flat), numpy)


def _flatten(value: Any, checked: bool) -> tuple[list[Any], list[int]]:
    """Return the elements of nested lists, and their shape. Raises ValueError when they are ragged.

    Unless `checked` is set, a string or an object next to lists may be taken for a list of its letters or keys.
    """
    flat: list[Any] = value if type(value) is list else [value]
    shape = [len(value)] if type(value) is list else []
    while flat and type(flat[0]) is list:
        if checked and set(map(type, flat)) != {list}:
            raise ValueError(f"a value beside lists at level {len(shape)}")
        length = len(flat[0])
        if len(shape) == MAX_DIMENSIONS:
            raise ValueError(f"more than {MAX_DIMENSIONS} dimensions")
        if length == 1:  # usually a channel axis, so many lists: this takes half the time; ValueError if ragged
            flat = [item for (item,) in flat]
        elif set(map(len, flat)) == {length}:
            flat = list(chain.from_iterable(flat))
        else:
            raise ValueError(f"lists of {length} and of other lengths at level {len(shape)}")
        shape.append(length)
    return flat, shape


def _problem(alias: str, value: Any, dtype: int) -> ServingError:
    """Return the error for a value that is not a tensor of this dtype: its shape, or the first wrong element."""
    expected = f"is not of expected type: {dtypes.name(dtype)}"
    if dtype not in _KINDS:
        return unimplemented(f"Conversion of JSON Value for input {alias!r} to type: {dtypes.name(dtype)}")
    try:
        flat, shape = _flatten(value, checked=True)
    except ValueError as error:
        reason = "lists of unequal lengths" if "unpack" in str(error) else error
        return invalid(f"JSON Value for input {alias!r} {expected}: {reason}; a tensor's lists are of equal length")
    kinds = list(map(type, flat))
    wrong = [kinds.index(kind) for kind in set(kinds) - _KINDS[dtype]]
    if wrong:
        item = flat[min(wrong)]
        what = f"JSON Value: {show(item)} Type: {type_name(item)}"
    else:
        limits = np.iinfo(dtypes.to_numpy(dtype)) if dtype in _INTEGERS else None
        outside = [item for item in (min(flat), max(flat)) if limits and not limits.min <= item <= limits.max]
        what = f"JSON Value: {show(outside[0] if outside else value)} out of range"
    place = np.unravel_index(min(wrong), shape) if wrong and shape else ()
    where = f" at {[int(axis) for axis in place]}" if place else ""
    return invalid(f"{what}{where} of input {alias!r} {expected}")


def _names(aliases: Any) -> str:
    return ", ".join(alias[:100] for alias in sorted(aliases)[:20])
