"""The tensors of a predict request's JSON body, without Python work per element.

    parse    bytes -> document
    inputs   document -> arrays by alias, by TensorFlow Serving's rules for rows ("instances") and columns ("inputs")

A list is flattened level by level and packed by `struct`, which takes the numbers of a dtype and nothing else: a float
where an integer is wanted is refused, not cut. What is refused `json_strict` looks at once more, to say why.
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tensor_serving.embedded import dtypes
from tensor_serving.embedded.errors import ServingError, invalid
from tensor_serving.embedded.rest import json_strict
from tensor_serving.embedded.rest.json_strict import EXACT, MOST_DIMENSIONS, is_object, loses, show, to_bytes
from tensor_serving.embedded.tensors import Array

Infos = Mapping[str, meta_graph_pb2.TensorInfo]

# An empty list is 2 bytes of JSON and 64 of memory, so lists are bounded by their number as well.
_MOST_LISTS = 4_000_000
_DEEPEST = 1024  # orjson's limit
# uint16 and half are ours: the real server has no conversion for them.
_CODES = {
    types_pb2.DT_FLOAT: "f",
    types_pb2.DT_DOUBLE: "d",
    types_pb2.DT_HALF: "e",
    types_pb2.DT_INT8: "b",
    types_pb2.DT_UINT8: "B",
    types_pb2.DT_INT16: "h",
    types_pb2.DT_UINT16: "H",
    types_pb2.DT_INT32: "i",
    types_pb2.DT_UINT32: "I",
    types_pb2.DT_INT64: "q",
    types_pb2.DT_UINT64: "Q",
}


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed body: its members, and whether `true` or `false` occur in it, which pass for numbers in Python."""

    members: dict[str, Any]
    truths: bool


def parse(body: bytes) -> Document:
    """Return the body's JSON object; NaN, Infinity and -Infinity are numbers in it. Of equal keys the last one counts.

    Raises ServingError INVALID_ARGUMENT when it is none, or is nested too deep or has too many lists.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    if len(body) > _MOST_LISTS and body.count(b"[") + body.count(b"{") > _MOST_LISTS:
        raise invalid(f"JSON Parse error: more than {_MOST_LISTS} lists and objects")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in body and b"Infinity" not in body:
            raise _parse_error(error) from error
        value = _parse_with_nan(body)
    if type(value) is not dict:
        raise invalid(f"JSON Value: {show(value)} Is not object")
    return Document(value, b"true" in body or b"false" in body)


def signature_name(document: Document) -> str:
    """Return the name of the signature asked for; empty for the default one. Raises INVALID_ARGUMENT."""
    name = document.members.get("signature_name", "")
    if type(name) is not str:
        raise invalid(
            f"JSON Value: {show(document.members)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def inputs(document: Document, infos: Infos) -> tuple[dict[str, Array], bool]:
    """Return the signature's inputs by alias, and whether they came as rows.

    Raises ServingError INVALID_ARGUMENT when they are not there, ragged, or not of the signature's dtypes.
    """
    members = document.members
    if "instances" not in members:
        if "inputs" not in members:
            raise invalid("Missing 'inputs' or 'instances' key")
        return _columns(members["inputs"], infos, document.truths), False
    if "inputs" in members:
        raise invalid(
            f"JSON Value: {show(members)} Not formatted correctly expecting only "
            "one of 'inputs' or 'instances' keys to exist "
        )
    instances = members["instances"]
    if type(instances) is not list:
        raise invalid(f"JSON Value: {show(members)} Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid(f"JSON Value: {show(members)} No values in 'instances' array")
    return _rows(instances, infos, document.truths), True


def _rows(instances: list[Any], infos: Infos, truths: bool) -> dict[str, Array]:
    """Return one array per input; "instances" is a list of values for a single input, else of objects by alias."""
    if type(instances[0]) is not dict and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    if not is_object(instances[0]):
        alias, info = next(iter(infos.items()))
        array = tensor(instances, info.dtype, truths)
        if array is None:
            raise json_strict.row_problem(instances, infos, named=False)
        return {alias: array}
    if all(type(item) is dict and item.keys() == infos.keys() for item in instances):
        arrays = {a: tensor([item[a] for item in instances], info.dtype, truths) for a, info in infos.items()}
        found = {alias: array for alias, array in arrays.items() if array is not None}
        if len(found) == len(arrays):
            return found
    raise json_strict.row_problem(instances, infos, named=True)


def _columns(value: Any, infos: Infos, truths: bool) -> dict[str, Array]:
    """Return one array per input; "inputs" is the value of a single input, else an object by alias."""
    if not is_object(value):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        value = {next(iter(infos)): value}
    arrays = {}
    for alias, info in infos.items():
        if alias not in value:
            raise invalid(f"Missing named input: {alias} in 'inputs' object.")
        array = tensor(value[alias], info.dtype, truths)
        if array is None:
            raise json_strict.problem(value[alias], info.dtype)
        arrays[alias] = array
    return arrays


def tensor(value: Any, dtype: int, truths: bool) -> Array | None:
    """Return the tensor of a JSON value, or None when it is none of this dtype."""
    try:
        flat, shape = _flatten(value, dtype == dtypes.STRING)
        if dtype == dtypes.STRING:
            array = np.empty(len(flat), object)
            array[:] = [item.encode() if type(item) is str else to_bytes(item) for item in flat]
            return array.reshape(shape)
        if dtype == types_pb2.DT_BOOL:
            return np.array(flat, bool).reshape(shape) if set(map(type, flat)) <= {bool} else None
        if truths and bool in set(map(type, flat)):
            return None
        packed = struct.pack(f"{len(flat)}{_CODES[dtype]}", *flat)
        array = np.frombuffer(packed, dtypes.to_numpy(dtype))
        # Larger numbers than those all of whose integers are exact are looked at one by one.
        large = dtype in EXACT and len(array) and not np.abs(array).max() <= EXACT[dtype]
        return None if large and any(loses(item, dtype) for item in flat) else array.reshape(shape)
    except (KeyError, TypeError, ValueError, OverflowError, struct.error, ServingError):
        return None


def _flatten(value: Any, checked: bool) -> tuple[list[Any], list[int]]:
    """Return the elements of nested lists, and their shape. Raises ValueError when they are ragged.

    Unless `checked` is asked for, a string or an object beside lists can pass for the list of its letters or keys.
    """
    flat: list[Any] = value if type(value) is list else [value]
    shape = [len(value)] if type(value) is list else []
    while flat and type(flat[0]) is list:
        if checked and set(map(type, flat)) != {list}:
            raise ValueError("mixed")
        length = len(flat[0])
        if len(shape) == MOST_DIMENSIONS:
            raise ValueError("deep")
        if length == 1:  # a channel axis, as a rule: many lists, and this takes half the time; ValueError if ragged
            flat = [item for (item,) in flat]
        elif set(map(len, flat)) == {length}:
            flat = list(chain.from_iterable(flat))
        else:
            raise ValueError("ragged")
        shape.append(length)
    return flat, shape


def _parse_with_nan(body: bytes) -> Any:
    """Parse with the standard library, which knows NaN and Infinity, and orjson's strictness in everything else."""
    try:
        value = json.loads(body.decode(), parse_float=_finite, parse_int=_integer)
        if b"\\ud" in body or b"\\uD" in body:
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair cannot be encoded
        return value
    except json.JSONDecodeError as error:
        raise _parse_error(error) from error
    except RecursionError as error:
        raise invalid("JSON Parse error: nested too deep") from error
    except UnicodeDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}") from error
    except UnicodeEncodeError as error:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from error
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from error


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("Number too big to be stored in double.")
    return number


def _integer(text: str) -> int | float:
    return int(text) if len(text) < 19 else _long_integer(text)


def _long_integer(text: str) -> int | float:
    number = _finite(text)
    return int(text) if -(2**63) <= number < 2**64 else number


# The real server's texts by what orjson and the standard library say.
_TEXTS = {
    "depth limit": f"nested deeper than {_DEEPEST} levels",
    "number is infinity": "Number too big to be stored in double.",
    "unexpected content after": "The document root must not be followed by other values.",
    "Extra data": "The document root must not be followed by other values.",
    "input data is empty": "The document is empty.",
    "invalid escaped": "Invalid escape character in string.",
    "no low surrogate": "The surrogate pair in string is invalid.",
    "invalid low surrogate": "The surrogate pair in string is invalid.",
    "str is not valid UTF-8": "Invalid encoding in string.",
    "unexpected character, expected a string key": "Missing a name for object member.",
    "unexpected character, expected ':'": "Missing a colon after a name of object member.",
    "unexpected character, expected ',' or '}'": "Missing a comma or } after an object member.",
    "unexpected character, expected ',' or ']'": "Missing a comma or ] after an array element.",
    "unexpected end of data": "Invalid value, the document ends too early.",
}


def _parse_error(error: json.JSONDecodeError) -> Exception:
    text = next((text for start, text in _TEXTS.items() if error.msg.startswith(start)), "Invalid value.")
    return invalid(f"JSON Parse error: {text} at offset: {error.pos}")
