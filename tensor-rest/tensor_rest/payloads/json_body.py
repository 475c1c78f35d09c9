"""JSON bodies: parsed within limits, written fast; and a slot that limits the memory for values of large bodies."""

import codecs
import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson

from tensor_rest.errors import BadRequestError, TooLargeError, UnavailableError
from tensor_rest.observability import metrics
from tensor_rest.payloads.json_depth import check_json_depth

_MAX_CONTAINERS = 1_000_000  # lists and objects: each takes some 80 bytes of memory, and 3 of the body
_JSON_FACTOR = 20  # memory of JSON as values, in multiples of its text (measured: 8 to 60 with all copies)
_ARRAY_FACTOR = 8  # memory of an array, in multiples of its bytes: uint8 to float64
_LARGE = 8 << 20  # bytes of values; a worker processes requests with more one after the other
_SLOT_TIMEOUT_S = 5.0  # seconds that such a request waits for the slot

_large_body = threading.Lock()


@contextmanager
def large_body_slot(body: int, *, arrays: bool = False) -> Iterator[None]:
    """Hold the slot for large bodies while a body of `body` bytes, JSON or `arrays`, is processed.

    A small body needs no slot. Raises UnavailableError if the slot is not free in time.
    """
    if body * (_ARRAY_FACTOR if arrays else _JSON_FACTOR) <= _LARGE:
        yield
        return
    if not _large_body.acquire(timeout=_SLOT_TIMEOUT_S):
        metrics.refused("busy")
        raise UnavailableError("The gateway is busy with other large requests; smaller ones are taken at once.")
    try:
        yield
    finally:
        _large_body.release()


def loads(data: bytes, *, trailing: bool = False) -> Any:
    """Parse a JSON text; NaN, Infinity and a byte order mark are accepted, as TensorFlow Serving does.

    `trailing`: text after the value is ignored. Raises BadRequestError for a text that is not JSON or nests too deep,
    TooLargeError for too many lists and objects; depth and number are checked before anything is built.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data:
        raise BadRequestError("The body is empty; a JSON document was wanted.")
    containers = data.count(b"[") + data.count(b"{")
    if containers > _MAX_CONTAINERS:
        raise TooLargeError(
            f"The JSON has {containers:,} lists and objects; at most {_MAX_CONTAINERS:,} are taken. "
            "Send large tensors as .npy."
        )
    check_json_depth(data)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if trailing and "after document" in error.msg:
            return orjson.loads(error.doc[: error.pos])
        if b"NaN" in data or b"Infinity" in data:
            return _loads_with_nan(data, trailing)
        raise BadRequestError(f"The body is not JSON: {error}.") from error


def dumps(document: Any) -> bytes:
    """Return the JSON of a document that may hold arrays. NaN and infinities, which JSON lacks, become null."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def dumps_with_nan(document: Any) -> bytes:
    """Return JSON with NaN, Infinity and -Infinity, as TensorFlow Serving writes it and Python's json reads it."""
    return json.dumps(document, default=_plain, ensure_ascii=False).encode()


def _plain(array: Any) -> Any:
    """Return an array or number of NumPy as Python's; a float gets the digits `dumps` writes, not a double's."""
    array = np.asarray(array)
    if array.dtype.kind != "f":
        return array.tolist()
    written = np.array(orjson.loads(dumps(np.ascontiguousarray(array.ravel()))), np.float64).reshape(array.shape)
    return np.where(np.isfinite(array), written, array).tolist()


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"number is infinity when parsed as double: {text[:40]}")
    return number


def _whole(text: str) -> int | float:
    """Return a whole number as orjson does: as a float if it has over 64 bits."""
    if len(text) <= 20 and -(2**63) <= (number := int(text)) < 2**64:
        return number
    return _finite(text)


_WITH_NAN = json.JSONDecoder(parse_float=_finite, parse_int=_whole)


def _loads_with_nan(data: bytes, trailing: bool) -> Any:
    """Parse with Python's own json, which knows NaN and Infinity; several times slower than orjson."""
    try:
        text = data.decode()
        if trailing:
            return _WITH_NAN.raw_decode(text.lstrip(" \t\n\r"))[0]
        return _WITH_NAN.decode(text)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"The body is not JSON: {error}.") from error
