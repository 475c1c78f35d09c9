"""JSON values to arrays and back, by TensorFlow Serving's rules: rows ("instances") and columns ("inputs").

A string is text, `{"b64": "..."}` bytes. Numbers must fit their tensor: no fraction for an integer, no silent overflow.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import BadRequestError
from .wire.serving_pb2 import TensorInfo
from .wire.tensors import WireError, numpy_type, type_name

Array = np.ndarray[Any, Any]
Infos = Mapping[str, TensorInfo]


def from_rows(rows: Any, infos: Infos) -> dict[str, Array]:
    """The batch of `rows`: a list of values (one input), or of objects by alias. Raises BadRequestError."""
    if not isinstance(rows, list) or not rows:
        raise BadRequestError('"instances" must be a list of at least one row.')
    objects = [isinstance(row, dict) and not _is_b64(row) for row in rows]
    if not any(objects):
        alias = _only(infos, "instances", "a list of objects by alias")
        return {alias: to_array(alias, rows, infos[alias])}
    for number, row in enumerate(rows):
        if not objects[number]:
            raise BadRequestError(f'Row {number} of "instances" is no object, others are; they must be alike.')
        if row.keys() != infos.keys():
            raise BadRequestError(f'Row {number} of "instances" has {_names(row)}; wanted exactly {_names(infos)}.')
    return {alias: to_array(alias, [row[alias] for row in rows], info) for alias, info in infos.items()}


def from_columns(columns: Any, infos: Infos) -> dict[str, Array]:
    """The inputs: an object by alias, or the value itself where there is one input. Raises BadRequestError."""
    if not isinstance(columns, dict) or _is_b64(columns):
        alias = _only(infos, "inputs", "an object by alias")
        return {alias: to_array(alias, columns, infos[alias])}
    if columns.keys() != infos.keys():
        raise BadRequestError(f'"inputs" has {_names(columns)}; wanted exactly {_names(infos)}.')
    return {alias: to_array(alias, columns[alias], info) for alias, info in infos.items()}


def to_array(alias: str, value: Any, info: TensorInfo) -> Array:
    """One tensor of the input `alias`. Raises BadRequestError that says which value, or which shape, does not fit."""
    dtype = _dtype(alias, info)
    # As objects first: asked for numbers, NumPy would read texts as numbers, and asked for nothing, one long text
    # would make it give every other one the same room.
    objects = _objects(value)
    kinds = set(map(type, objects.ravel().tolist()))
    if list in kinds:
        raise BadRequestError(f"Input {alias!r} is ragged: every list of one level must have the same length.")
    wanted, taken = _taken(dtype)
    if kinds - taken:
        found = ", ".join(sorted(_JSON_NAMES.get(kind, kind.__name__) for kind in kinds - taken))
        raise BadRequestError(f"Input {alias!r} is {type_name(info.dtype)}: wanted {wanted}, found {found}.")
    try:
        array = _texts(alias, objects) if dtype.hasobject else objects.astype(dtype)
    except OverflowError as error:
        raise BadRequestError(f"Input {alias!r} has a number that does not fit {type_name(info.dtype)}.") from error
    return check_shape(alias, array, info)


def fitted(arrays: Mapping[str, Array], infos: Infos) -> dict[str, Array]:
    """Ready arrays by alias as the signature wants them; a single one may have any name.

    Floats are rounded to the input's type, whole numbers must fit it. Raises BadRequestError.
    """
    if len(arrays) == len(infos) == 1:
        arrays = dict(zip(infos, arrays.values(), strict=True))
    if arrays.keys() != infos.keys():
        raise BadRequestError(f"The body has {_names(arrays)}; the signature wants exactly {_names(infos)}.")
    return {alias: check_shape(alias, _cast(alias, arrays[alias], info), info) for alias, info in infos.items()}


def _cast(alias: str, array: Array, info: TensorInfo) -> Array:
    wanted = _dtype(alias, info)
    if array.dtype == wanted:
        return array
    if array.dtype.kind in {"f": "iuf", "i": "iu", "u": "iu"}.get(wanted.kind, "") and _holds(wanted, array):
        with np.errstate(over="ignore"):
            return array.astype(wanted)
    raise BadRequestError(f"Input {alias!r} is {type_name(info.dtype)}: {array.dtype} was sent, which does not fit.")


def _holds(wanted: np.dtype[Any], array: Array) -> bool:
    """Whether every whole number of `array` is one of `wanted`."""
    if wanted.kind == "f" or array.size == 0:
        return True
    limits = np.iinfo(wanted)
    return limits.min <= int(array.min()) and int(array.max()) <= limits.max


def check_shape(alias: str, array: Array, info: TensorInfo) -> Array:
    """`array` if it has the shape of the signature. Raises BadRequestError."""
    shape = [dim.size for dim in info.tensor_shape.dim]
    if info.tensor_shape.unknown_rank or (
        array.ndim == len(shape) and all(want in (-1, have) for want, have in zip(shape, array.shape, strict=True))
    ):
        return array
    raise BadRequestError(f"Input {alias!r} has shape {list(array.shape)}; wanted {shape} (-1: any).")


def to_rows(outputs: Mapping[str, Array], *, by_suffix: bool = False) -> Any:
    """One value, or one object by alias, per row. Raises BadRequestError if the outputs have no common rows.

    `by_suffix`: as in `to_column`.
    """
    sizes = {array.shape[0] if array.ndim else None for array in outputs.values()}
    if len(sizes) != 1 or None in sizes:
        found = ", ".join(f"{alias} {list(array.shape)}" for alias, array in sorted(outputs.items()))
        raise BadRequestError(f'These outputs have no common rows: {found}. Send "inputs" to get them by column.')
    columns = {alias: to_column(alias, array, by_suffix=by_suffix) for alias, array in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def to_column(alias: str, array: Array, *, by_suffix: bool = False) -> Any:
    """What `bodies.dumps` writes as nested lists. Bytes are text where they are UTF-8, else `{"b64": ...}`.

    `by_suffix`: as TensorFlow Serving has it, `{"b64": ...}` wherever the alias ends with `_bytes`.
    """
    if not array.dtype.hasobject:
        return np.ascontiguousarray(array) if array.ndim else array.item()
    encode = _b64 if by_suffix and alias.endswith("_bytes") else _text
    out = np.empty(array.shape, object)
    out.ravel()[:] = [encode(item) for item in array.ravel().tolist()]
    return out.tolist()


_JSON_NAMES = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number with a fraction",
    dict: "an object",
    type(None): "null",
}


def _taken(dtype: np.dtype[Any]) -> tuple[str, set[type]]:
    """What an input takes: in words, and as types of parsed JSON."""
    if dtype.hasobject:
        return 'texts or {"b64": ...}', {str, dict}
    if dtype.kind == "b":
        return "true or false", {bool}
    if dtype.kind == "f":
        return "numbers", {int, float}
    return "whole numbers", {int}


def _objects(value: Any) -> Array:
    if isinstance(value, list):
        return np.array(value, dtype=object)
    scalar = np.empty((), object)
    scalar[()] = value
    return scalar


def _texts(alias: str, objects: Array) -> Array:
    out = np.empty(objects.shape, object)
    out.ravel()[:] = [_bytes(alias, item) for item in objects.ravel().tolist()]
    return out


def _bytes(alias: str, item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode("utf-8", "surrogatepass")
    try:
        if _is_b64(item):
            return base64.b64decode(item["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequestError(f"Input {alias!r} has a b64 text that is not base64: {error}.") from error
    raise BadRequestError(f'Input {alias!r} has an object that is not {{"b64": "..."}}.')


def _is_b64(value: dict[str, Any]) -> bool:
    return value.keys() == {"b64"} and isinstance(value["b64"], str)


def _b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def _text(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _b64(data)


def _dtype(alias: str, info: TensorInfo) -> np.dtype[Any]:
    try:
        return numpy_type(info.dtype)
    except WireError as error:
        raise BadRequestError(f"Input {alias!r}: {error}") from error


def _only(infos: Infos, key: str, instead: str) -> str:
    if len(infos) != 1:
        raise BadRequestError(f'"{key}" gives one value, the signature has the inputs {_names(infos)}: send {instead}.')
    return next(iter(infos))


def _names(mapping: Mapping[str, Any]) -> str:
    return ", ".join(repr(name[:80]) for name in sorted(mapping)[:20]) or "nothing"
