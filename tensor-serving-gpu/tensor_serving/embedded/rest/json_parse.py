"""Parsing a request's JSON body as leniently as TensorFlow Serving, bounded in depth and size."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import orjson

from tensor_serving.embedded.errors import ServingError, invalid

# An empty list is 2 bytes of JSON and 64 of memory, so lists are bounded by their number as well. orjson bounds their
# depth at 1,024, Python's own parser by its recursion limit.
_MAX_LISTS = 4_000_000
_MAX_SHOWN = 100  # characters of a value in a message
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Strings are matched only to skip them, an unterminated one too; otherwise the search would restart at each quote in
# it.
_INF = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|\bInf\b', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed body: its members, and whether `true` or `false` occur in it, which Python accepts as numbers."""

    members: dict[str, Any]
    truths: bool


def parse(body: bytes) -> Document:
    """Return the body's JSON object. Of equal keys the last one counts.

    As in TF Serving, NaN, Infinity and Inf are numbers, and a byte order mark before the object and text after it are
    ignored.
    Raises ServingError INVALID_ARGUMENT when it is not an object, or is nested too deep or has too many lists.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    if len(body) > _MAX_LISTS and body.count(b"[") + body.count(b"{") > _MAX_LISTS:
        raise invalid(f"JSON Parse error: more than {_MAX_LISTS} lists and objects")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        more = error.msg.startswith("unexpected content after")
        if not more and b"NaN" not in body and b"Inf" not in body:
            raise _parse_error(error) from error
        value = _parse_slowly(body)
    if type(value) is not dict:
        raise invalid(f"JSON Value: {show(value)} Is not object")
    return Document(value, b"true" in body or b"false" in body)


def signature_name(document: Document) -> str:
    """Return the name of the requested signature; empty for the default one. Raises INVALID_ARGUMENT."""
    name = document.members.get("signature_name", "")
    if type(name) is not str:
        raise invalid(f"JSON Value: 'signature_name' is {show(name)}, must be a string value.")
    return name


def show(value: Any) -> str:
    """Return a value as JSON, cut to a length fit for a message; a list or an object by its type."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value[:_MAX_SHOWN] if isinstance(value, str) else value, ensure_ascii=False)
    return text if len(text) <= _MAX_SHOWN + 2 else f"{text[:_MAX_SHOWN]}..."


def _parse_slowly(body: bytes) -> Any:
    """Parse like orjson, but with the standard library, which accepts NaN, Infinity and text after the document."""
    try:
        decoder = json.JSONDecoder(parse_float=_finite, parse_int=_integer)
        text = _INF.sub(lambda found: "Infinity" if found[0] == "Inf" else found[0], body.decode())
        value, _ = decoder.raw_decode(text.lstrip(" \t\r\n"))
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
    if len(text) < 19:
        return int(text)
    number = _finite(text)
    return int(text) if -(2**63) <= number < 2**64 else number


def _parse_error(error: json.JSONDecodeError) -> ServingError:
    return invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}")
