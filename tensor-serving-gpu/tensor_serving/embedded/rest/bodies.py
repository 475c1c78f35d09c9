"""How large a body may be, and decompressing it."""

import zlib

from tensor_serving.embedded.errors import invalid

MAX_BYTES = 64 * 1024 * 1024  # bytes, compressed and decompressed


class TooLargeError(Exception):
    """A body is larger than MAX_BYTES."""

    def __init__(self) -> None:
        super().__init__(f"the body is larger than {MAX_BYTES} bytes")


def unzip(body: bytes) -> bytes:
    """Return the content of a gzip body, decompressing no more than is allowed.

    Raises TooLargeError, or INVALID_ARGUMENT when it is not gzip or is incomplete; TF Serving uses an empty document in
    both cases.
    """
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(body, MAX_BYTES + 1)
    except zlib.error as error:
        raise invalid(f"the body is not gzip, which its Content-Encoding declares: {error}") from error
    if len(data) > MAX_BYTES:
        raise TooLargeError
    if not unpacker.eof or unpacker.unused_data:
        raise invalid(f"the gzip body {'goes on after its end' if unpacker.eof else 'ends too early'}")
    return data
