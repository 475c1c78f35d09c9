"""Receives request bodies, and decompresses gzip ones, within the limit for all bodies."""

import io
import os
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gevent import monkey

from tensor_rest.errors import (
    BadRequestError,
    LengthRequiredError,
    RequestTimeoutError,
    TooLargeError,
    UnsupportedMediaError,
)
from tensor_rest.payloads.body_memory import LARGE, Reservation
from tensor_rest.runtime import offload
from tensor_rest.settings import UPLOAD_RATE, UPLOAD_SECONDS

_DRAIN_SECONDS = 10.0  # for the rest of a refused body; a slower sender may miss the error
_CHUNK = 1 << 16  # bytes
_DRAIN_FACTOR = 4  # at most so many times the body limit is read and dropped, so that the client can read the error
_SIZE_BYTES = 4  # at the end of gzip: the size of what was packed


def receive(environ: dict[str, Any], reservation: Reservation, limit: int) -> None:
    """Read a large or gzip body into memory, and decompress gzip; any other body is left unread.

    TensorFlow Serving's REST API accepts gzip, and nginx does not decompress what it passes on. Raises UnavailableError
    if there is no memory in time, RequestTimeoutError for a body that arrives too slowly or ends early, other ApiErrors
    for an invalid length or encoding, and for more than `limit` bytes of gzip, packed or unpacked.
    """
    length, gzip = _length(environ), _is_gzip(environ)
    if length > limit:
        if gzip:
            raise TooLargeError(f"The request body is too large; at most {limit} bytes are taken.")
        return  # refused when it is read
    if length < LARGE and not gzip:
        return
    if length >= LARGE:  # what it unpacks to is known only at its end
        reservation.add(limit if gzip else length)
    source, environ["wsgi.input"] = environ["wsgi.input"], io.BytesIO()  # after a failure nothing more is read
    data = _received(source, length)
    if gzip:
        unpacked = min(int.from_bytes(data[-_SIZE_BYTES:], "little"), limit)
        if length >= LARGE:
            reservation.shrink(max(length, unpacked))
        else:
            reservation.add(unpacked)
        data = offload.run(_inflate, data, unpacked, limit)
        environ["CONTENT_LENGTH"] = str(len(data))
        del environ["HTTP_CONTENT_ENCODING"]
    environ["wsgi.input"] = io.BytesIO(data)


def _length(environ: dict[str, Any]) -> int:
    if environ.get("HTTP_TRANSFER_ENCODING"):
        # uWSGI's own HTTP does not buffer a chunked body; nginx does, and removes the header.
        raise LengthRequiredError("A body without Content-Length (chunked) is not accepted; send its length.")
    length = environ.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit()):  # nginx refuses them by itself
        raise BadRequestError(f"Content-Length {length[:20]!r} is not a number of bytes.")
    return int(length)


def _is_gzip(environ: dict[str, Any]) -> bool:
    encoding: str = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise UnsupportedMediaError(f"Content-Encoding {encoding[:20]!r} is not supported; send gzip, or none.")
    return encoding.endswith("gzip")


def _received(body: Any, length: int) -> bytes:
    chunks, left, until = [], length, time.monotonic() + UPLOAD_SECONDS
    while left:
        size = min(_CHUNK, left)
        until += size / UPLOAD_RATE
        with _cut_at(until, body):
            try:
                chunk = body.read(size)
            except OSError:  # cut off by `_cut_at`, uWSGI's timeout, or the sender closed the connection
                chunk = b""
        if not chunk:
            raise RequestTimeoutError(
                f"{length - left} of the body's {length} bytes arrived in time; expected {UPLOAD_RATE} bytes a second."
            )
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


@contextmanager
def _cut_at(until: float, body: Any) -> Iterator[None]:
    """End reads in this context at `until`: uWSGI's read returns only with all data, or if none arrives for a while."""
    if not monkey.is_module_patched("threading"):
        yield
        return
    timer = gevent.get_hub().loop.timer(max(0.0, until - time.monotonic()))
    timer.start(_cut, body.fileno())
    try:
        yield
    finally:
        timer.stop()
        timer.close()


def _cut(file: int) -> None:
    with socket.socket(fileno=os.dup(file)) as connection:
        connection.shutdown(socket.SHUT_RD)


def drain(environ: dict[str, Any], limit: int) -> None:
    """Read the rest of the body: closing a socket with unread bytes resets it, and the response would be lost."""
    body, left, until = environ["wsgi.input"], limit * _DRAIN_FACTOR, time.monotonic() + _DRAIN_SECONDS
    try:
        while left > 0 and time.monotonic() < until and (chunk := body.read(min(_CHUNK, left))):
            left -= len(chunk)
    except OSError:
        pass  # the client closed the connection or is too slow


def _inflate(data: bytes, size: int, limit: int) -> bytes:
    """Decompress gzip of at most `size` bytes, as it declares or `limit`."""
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        unpacked = inflater.decompress(data, size + 1)
    except zlib.error as error:
        raise BadRequestError("The body is not gzip, which its Content-Encoding declares.") from error
    if len(unpacked) > limit:
        raise TooLargeError(f"The body unpacks to more than {limit} bytes, which is the limit.")
    if len(unpacked) > size or not inflater.eof:
        raise BadRequestError("The gzip body is cut off, or unpacks to more than it declares at its end.")
    if inflater.unused_data:
        raise BadRequestError("The gzip body has a second part.")
    return unpacked
