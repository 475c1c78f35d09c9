"""JSON values to arrays and back, by TensorFlow Serving's rules: rows ("instances") and columns ("inputs").

A JSON string is text, `{"b64": "..."}` is bytes. Whole numbers must fit the tensor's dtype, floats are rounded to it.
Shapes are not checked: the graph decides which ones it accepts.
"""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensor_rest.backend.protos.serving_pb2 import TensorInfo
from tensor_rest.backend.tensors import BFLOAT16, WireError, from_bfloat16, numpy_type, to_bfloat16, type_name
from tensor_rest.errors import BadRequestError

Array = np.ndarray[Any, Any]
Infos = Mapping[str, TensorInfo]

_WHITE_SPACE = b" \t\n\v\f\r"


def from_rows(rows: Any, infos: Infos) -> dict[str, Array]:
    """Return the inputs for `rows`: a list of values (one input), or of objects by alias. Raises BadRequestError."""
    if not isinstance(rows, list) or not rows:
        raise BadRequestError('"instances" must be a list of at least one row.')
    objects = [isinstance(row, dict) and not _is_b64(row) for row in rows]
    if not any(objects):
        alias = _only(infos, "instances", "a list of objects by alias")
        return {alias: to_array(alias, rows, infos[alias])}
    for number, row in enumerate(rows):
        if not objects[number]:
            raise BadRequestError(f'Row {number} of "instances" is not an object, others are; they must be alike.')
        if row.keys() != infos.keys():
            raise BadRequestError(f'Row {number} of "instances" has {_names(row)}; wanted exactly {_names(infos)}.')
    return {alias: to_array(alias, [row[alias] for row in rows], info) for alias, info in infos.items()}


def from_columns(columns: Any, infos: Infos) -> dict[str, Array]:
    """Return the inputs for an object by alias, or for the value itself of a single input. Raises BadRequestError."""
    if not isinstance(columns, dict) or _is_b64(columns):
        alias = _only(infos, "inputs", "an object by alias")
        return {alias: to_array(alias, columns, infos[alias])}
    if not infos.keys() <= columns.keys():  # more are ignored, as TensorFlow Serving does
        raise BadRequestError(f'"inputs" has {_names(columns)}; wanted {_names(infos)}.')
    return {alias: to_array(alias, columns[alias], info) for alias, info in infos.items()}


def to_array(alias: str, value: Any, info: TensorInfo) -> Array:
    """Return the array of the input `alias`. Raises BadRequestError for a value that does not fit."""
    dtype = _dtype(alias, info)
    # As objects first: with a numeric dtype, NumPy would read texts as numbers, and with none, one long text
    # would make it give every other one the same size.
    objects = _objects(value)
    kinds = set(map(type, objects.ravel().tolist()))
    if list in kinds:
        raise BadRequestError(f"Input {alias!r} is ragged: every list of one level must have the same length.")
    wanted, taken = _taken(dtype)
    if kinds - taken:
        found = ", ".join(sorted(_JSON_NAMES.get(kind, kind.__name__) for kind in kinds - taken))
        raise BadRequestError(f"Input {alias!r} is {type_name(info.dtype)}: wanted {wanted}, found {found}.")
    if dtype.hasobject:
        return _texts(alias, objects)
    try:
        with np.errstate(over="ignore"):  # what is too large for a float becomes infinity
            return to_bfloat16(objects.astype(np.float32)) if dtype == BFLOAT16 else objects.astype(dtype)
    except OverflowError as error:
        raise BadRequestError(f"Input {alias!r} has a number that does not fit {type_name(info.dtype)}.") from error


def fitted(arrays: Mapping[str, Array], infos: Infos) -> dict[str, Array]:
    """Return arrays by alias in the dtypes of the signature's inputs; a single array may have any name.

    Floats are rounded to the input's type, whole numbers must fit it. Raises BadRequestError.
    """
    if len(arrays) == len(infos) == 1:
        arrays = dict(zip(infos, arrays.values(), strict=True))
    if arrays.keys() != infos.keys():
        raise BadRequestError(f"The body has {_names(arrays)}; the signature takes exactly {_names(infos)}.")
    return {alias: _cast(alias, arrays[alias], info) for alias, info in infos.items()}


def _cast(alias: str, array: Array, info: TensorInfo) -> Array:
    wanted = _dtype(alias, info)
    if array.dtype == wanted:
        return array
    kinds = {"f": "iuf", "V": "iuf", "c": "iufc", "i": "iu", "u": "iu"}  # V: bfloat16
    if array.dtype.kind in kinds.get(wanted.kind, "") and _holds(wanted, array):
        with np.errstate(over="ignore"):
            return to_bfloat16(array) if wanted == BFLOAT16 else array.astype(wanted)
    raise BadRequestError(f"Input {alias!r} is {type_name(info.dtype)}: {array.dtype} was sent, which does not fit.")


def _holds(wanted: np.dtype[Any], array: Array) -> bool:
    """Whether `wanted` can hold every whole number in `array`."""
    if wanted.kind not in "iu" or array.size == 0:
        return True
    limits = np.iinfo(wanted)
    return limits.min <= int(array.min()) and int(array.max()) <= limits.max


def to_rows(outputs: Mapping[str, Array], *, as_serving: bool = False) -> Any:
    """One value, or one object by alias, per row. Raises BadRequestError if the outputs have no common rows.

    `as_serving`: as in `to_column`.
    """
    sizes = {array.shape[0] if array.ndim else None for array in outputs.values()}
    if len(sizes) != 1 or None in sizes:
        found = ", ".join(f"{alias} {list(array.shape)}" for alias, array in sorted(outputs.items()))
        raise BadRequestError(f'These outputs have no common rows: {found}. Send "inputs" to get them by column.')
    columns = {alias: to_column(alias, array, as_serving=as_serving) for alias, array in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def to_column(alias: str, array: Array, *, as_serving: bool = False) -> Any:
    """Return a value that `json_body.dumps` writes as nested lists. Bytes are text if UTF-8, else `{"b64": ...}`.

    `as_serving`: as in TensorFlow Serving, `{"b64": ...}` wherever the alias ends with `_bytes`, and no bfloat16.
    Raises BadRequestError for a type that JSON cannot hold.
    """
    if array.dtype == BFLOAT16 and not as_serving:
        array = from_bfloat16(array)
    if array.dtype.kind in "cV":
        raise BadRequestError(
            f"Output {alias!r} is {_dtype_name(array.dtype)}, which cannot be written as JSON. Leave it out: outputs= "
            "names the others; or read it as .npz: /tf/models/.../predict with Accept: application/x-npz."
        )
    if not array.dtype.hasobject:
        return np.ascontiguousarray(array) if array.ndim else array[()]
    encode = _b64 if as_serving and alias.endswith("_bytes") else _text
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
    """Return what an input of this dtype accepts: in words, and as types of parsed JSON."""
    if dtype.hasobject:
        return 'texts or {"b64": ...}', {str, dict}
    if dtype.kind == "b":
        return "true or false", {bool}
    if dtype.kind == "f" or dtype == BFLOAT16:
        return "numbers", {int, float}
    if dtype.kind == "c":
        return "an array as .npy or .npz, because JSON has no complex numbers", set()
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
            return from_base64(item["b64"])
    except ValueError as error:
        raise BadRequestError(f"Input {alias!r} has a b64 text that is not base64: {error}.") from error
    raise BadRequestError(f'Input {alias!r} has an object that is not {{"b64": "..."}}.')


def from_base64(text: str) -> bytes:
    """The bytes of a base64 text; as in TensorFlow Serving white space is skipped, and padding may be left out.

    Raises ValueError.
    """
    data = text.encode("ascii").translate(None, _WHITE_SPACE)
    bare = data.rstrip(b"=")
    padding = b"=" * (-len(bare) % 4)
    if len(data) not in (len(bare), len(bare) + len(padding)):
        raise ValueError("wrong padding")
    return base64.b64decode(bare + padding, validate=True)


def _is_b64(value: dict[str, Any]) -> bool:
    return value.keys() == {"b64"} and isinstance(value["b64"], str)


def _b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def _text(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _b64(data)


def _dtype_name(dtype: np.dtype[Any]) -> str:
    """TensorFlow's name of an array's type."""
    return "bfloat16" if dtype == BFLOAT16 else dtype.name


def _dtype(alias: str, info: TensorInfo) -> np.dtype[Any]:
    try:
        return numpy_type(info.dtype)
    except WireError as error:
        raise BadRequestError(f"Input {alias!r}: {error}") from error


def _only(infos: Infos, key: str, instead: str) -> str:
    if len(infos) != 1:
        raise BadRequestError(f'"{key}" has one value, the signature has the inputs {_names(infos)}: send {instead}.')
    return next(iter(infos))


def _names(mapping: Mapping[str, Any]) -> str:
    return ", ".join(repr(name[:80]) for name in sorted(mapping)[:20]) or "nothing"
