"""How large a body may be, and unpacking one."""

import zlib

from tensor_serving.embedded.errors import invalid

MAX_BYTES = 64 * 1024 * 1024  # bytes, packed and unpacked


class TooLargeError(Exception):
    """A body is larger than MAX_BYTES."""

    def __init__(self) -> None:
        super().__init__(f"the body is larger than {MAX_BYTES} bytes")


def unzip(body: bytes) -> bytes:
    """Return what a gzip body holds, unpacking no more than is allowed.

    Raises TooLargeError, or INVALID_ARGUMENT when it is no gzip or not all of it; the real server then goes on with
    an empty document in both cases.
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
