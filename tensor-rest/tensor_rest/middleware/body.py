"""Receives request bodies, and decompresses gzip ones, within the limit for all bodies."""

import io
import os
import socket
import threading
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
    UnavailableError,
    UnsupportedMediaError,
)
from tensor_rest.observability import metrics
from tensor_rest.runtime import offload
from tensor_rest.settings import UPLOAD_RATE, UPLOAD_SECONDS

LARGE = 100_000
"""Bytes from which a body is large: nginx passes it on without buffering it. nginx.conf counts the digits."""

_MEMORY_FACTOR = 3  # memory that a body takes, in multiples of its size: the body, its parts, and what they unpack to
_TIMEOUT_S = 5.0  # seconds a large body waits for memory
_DRAIN_SECONDS = 10.0  # for the rest of a refused body; a slower sender may miss the error
_CHUNK = 1 << 16  # bytes
_DRAIN_FACTOR = 4  # at most so many times the body limit is read and dropped, so that the client can read the error


def unpack(environ: dict[str, Any], limit: int) -> None:
    """Decompress a gzip body. Raises an ApiError for any other Content-Encoding, and for more than `limit` bytes.

    TensorFlow Serving's REST API accepts gzip, and nginx does not decompress what it passes on.
    """
    if environ.get("HTTP_TRANSFER_ENCODING"):
        # uWSGI's own HTTP does not buffer a chunked body; nginx does, and removes the header.
        raise LengthRequiredError("A body without Content-Length (chunked) is not accepted; send its length.")
    length = environ.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit()):  # nginx refuses them by itself
        raise BadRequestError(f"Content-Length {length[:20]!r} is not a number of bytes.")
    packing = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if packing in ("", "identity"):
        return
    if packing not in ("gzip", "x-gzip"):
        raise UnsupportedMediaError(f"Content-Encoding {packing[:20]!r} is not supported; send gzip, or none.")
    if int(length) > limit:
        raise TooLargeError(f"The request body is too large; at most {limit} bytes are taken.")
    data = offload.run(_inflate, environ["wsgi.input"].read(int(length)), limit)
    environ.update({"wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data))})
    del environ["HTTP_CONTENT_ENCODING"]


class Receiver:
    """Reads large bodies within a memory limit for all of them. One per process."""

    def __init__(self, memory: int, limit: int) -> None:
        """Set the limits in bytes: `memory` for all bodies together, `limit` for one body."""
        self._memory, self._limit = memory, limit
        self._used = 0
        self._changed = threading.Condition()

    def receive(self, environ: dict[str, Any]) -> int:
        """Read a large body into memory; a small one is left unread.

        Returns how much memory to `release` when the request is answered. Raises UnavailableError if there is none in
        time, RequestTimeoutError for a body that arrives too slowly or ends early.
        """
        length = environ.get("CONTENT_LENGTH") or "0"
        if not (length.isascii() and length.isdigit()) or not LARGE <= int(length) <= self._limit:
            return 0
        size = _MEMORY_FACTOR * int(length)
        with self._changed:
            if not self._changed.wait_for(lambda: not self._used or self._used + size <= self._memory, _TIMEOUT_S):
                metrics.refused("busy")
                raise UnavailableError("The gateway is busy with other large requests; smaller ones are accepted.")
            self._used += size
        source, environ["wsgi.input"] = environ["wsgi.input"], io.BytesIO()  # after a failure nothing more is read
        try:
            environ["wsgi.input"] = io.BytesIO(_received(source, int(length)))
        except BaseException:
            self.release(size)
            raise
        return size

    def release(self, size: int) -> None:
        """Release memory that `receive` reserved."""
        with self._changed:
            self._used -= size
            self._changed.notify_all()


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


def _inflate(data: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        unpacked = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise BadRequestError("The body is not gzip, which its Content-Encoding declares.") from error
    if len(unpacked) > limit:
        raise TooLargeError(f"The body unpacks to more than {limit} bytes, which is the limit.")
    if not inflater.eof or inflater.unused_data:
        raise BadRequestError("The gzip body is cut off." if not inflater.eof else "The gzip body has a second part.")
    return unpacked
