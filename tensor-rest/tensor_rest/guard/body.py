"""Bodies as they come over the wire: packed ones are unpacked here, within the bound that holds for all."""

import io
import zlib
from typing import Any

from .. import offload
from ..errors import BadRequestError, LengthRequiredError, TooLargeError, UnsupportedMediaError

_CHUNK = 1 << 16  # bytes
_DRAIN_FACTOR = 4  # of the body limit is what is read and thrown away, so that the sender gets to read our refusal


def unpack(environ: dict[str, Any], limit: int) -> None:
    """Replace a gzip body by what is in it. Raises the ApiError for any other packing, and for more than `limit` bytes.

    TensorFlow Serving's REST API takes gzip, and nginx does not unpack what it passes on.
    """
    if environ.get("HTTP_TRANSFER_ENCODING"):
        # uWSGI's own HTTP does not collect a chunked body; nginx does, and takes the header away.
        raise LengthRequiredError("A body without Content-Length (chunked) is not taken; send its length.")
    length = environ.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit()):  # nginx refuses them by itself
        raise BadRequestError(f"Content-Length {length[:20]!r} is no number of bytes.")
    packing = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if packing in ("", "identity"):
        return
    if packing not in ("gzip", "x-gzip"):
        raise UnsupportedMediaError(f"Content-Encoding {packing[:20]!r} is not taken; send gzip, or the body as it is.")
    if int(length) > limit:
        raise TooLargeError(f"The request body is too large; at most {limit} bytes are taken.")
    data = offload.run(_inflate, environ["wsgi.input"].read(int(length)), limit)
    environ.update({"wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data))})
    del environ["HTTP_CONTENT_ENCODING"]


def drain(environ: dict[str, Any], limit: int) -> None:
    """Read what is left of the body: closing a socket with unread bytes resets it, and the answer would be lost."""
    body, left = environ["wsgi.input"], limit * _DRAIN_FACTOR
    try:
        while left > 0 and (chunk := body.read(min(_CHUNK, left))):
            left -= len(chunk)
    except OSError:
        pass  # the sender is gone or too slow; nobody waits for the answer


def _inflate(data: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        unpacked = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise BadRequestError("The body is not gzip, as its Content-Encoding says.") from error
    if len(unpacked) > limit:
        raise TooLargeError(f"The body unpacks to more than {limit} bytes, which is what is taken.")
    if not inflater.eof or inflater.unused_data:
        raise BadRequestError("The gzip body is cut off." if not inflater.eof else "The gzip body has a second part.")
    return unpacked
