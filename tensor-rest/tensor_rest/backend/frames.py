"""HTTP/2 as bytes: frames (RFC 9113) and header blocks (RFC 7541), as far as a client of gRPC needs them.

Header blocks are stateless in both directions: no dynamic table is used, and a table of size 0 is announced. So the
same bytes always mean the same fields.
"""

import struct
from collections.abc import Iterable, Mapping
from enum import IntEnum
from functools import lru_cache

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW = 65_535  # bytes either side may send before a SETTINGS frame
WIDEST_WINDOW = 2**31 - 1
FRAME = 16_384  # bytes of payload that every peer accepts
FRAME_HEAD = 9
LAST_STREAM = 2**31 - 1
PROTOCOL_ERROR, CANCEL, ENHANCE_YOUR_CALM = 1, 8, 11

HEADERS_BYTES = 64 << 10
"""Maximum size of a header block, encoded and decoded."""

CONTROL_FRAMES = 1000
"""Frames without data of the answer that the peer may send in one call: more is a flood, which would occupy a worker
until the deadline. A thousand take a worker some milliseconds."""
CONTROL_FRAME_BYTES = 256
"""Each so many bytes of a frame without data count as one more frame, and a DATA frame with less content counts as one
without data. For each so many bytes of the request the peer may send one more: its WINDOW_UPDATE frames."""

_SMALL_BLOCK = 256  # bytes; such blocks are cached once decoded, since most answers repeat them


class Kind(IntEnum):
    """Types of frames; others are to be ignored."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    """Numbers of the settings that are sent or applied."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20

_HEAD = struct.Struct(">HBBBL")  # length (24 bits), type, flags, stream


class ProtocolError(Exception):
    """The peer violated HTTP/2: the connection ends with the error `code`."""

    def __init__(self, text: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(text)
        self.code = code


def head(size: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a payload of `size` bytes."""
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A whole frame."""
    return head(len(payload), kind, flags, stream) + payload


def read_head(data: bytes, at: int) -> tuple[int, int, int, int]:
    """Size, type, flags and stream of the frame that begins at `at`."""
    high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
    return high << 8 | low, kind, flags, stream & 0x7FFFFFFF


def number(payload: bytes, what: str) -> int:
    """Return the number that is the whole payload, of 4 bytes. Raises ProtocolError for another size."""
    if len(payload) != 4:
        raise ProtocolError(f"{what} with {len(payload)} bytes")
    return int.from_bytes(payload, "big")


def settings(values: Mapping[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(struct.pack(">HL", *item) for item in values.items()))


def read_settings(payload: bytes) -> Iterable[tuple[int, int]]:
    """Number and value of each setting. Raises ProtocolError."""
    if len(payload) % 6:
        raise ProtocolError(f"SETTINGS with {len(payload)} bytes")
    return struct.iter_unpack(">HL", payload)


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return the content of a DATA or HEADERS frame, without its padding. Raises ProtocolError."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ProtocolError("a padded frame without its length")
        start, end = 1, end - payload[0]
    if start > end:
        raise ProtocolError("more padding than there are bytes")
    return payload[start:end]


def field(name: bytes, value: bytes) -> bytes:
    """A header field as a literal, without indexing."""
    return b"\0" + _integer(len(name)) + name + _integer(len(value)) + value


def request_fields(authority: str, path: str) -> bytes:
    """The beginning of a call's header block, the same for all calls of a path."""
    names = ((b":authority", authority), (b":path", path), (b"te", "trailers"), (b"content-type", "application/grpc"))
    # 0x83 is :method POST, 0x86 :scheme http
    return b"\x83\x86" + b"".join(field(name, value.encode()) for name, value in names)


def fields(block: bytes) -> Mapping[str, str]:
    """Return the fields of a header block; of fields with the same name the last. Raises ProtocolError."""
    return _known(block) if len(block) <= _SMALL_BLOCK else _read(block)


def _read(block: bytes) -> Mapping[str, str]:
    decoder = hpack.Decoder(HEADERS_BYTES)
    decoder.header_table_size = decoder.max_allowed_table_size = 0
    try:
        found = decoder.decode(block, raw=True)
    except (hpack.HPACKError, IndexError, ValueError) as error:
        raise ProtocolError(f"a header block that cannot be read: {error}") from error
    return {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in found}


_known = lru_cache(256)(_read)


def _integer(value: int) -> bytes:
    """Return a length as HPACK encodes it, with seven bits in the first byte."""
    if value < 127:
        return bytes((value,))
    value -= 127
    more = bytearray(b"\x7f")
    while value > 127:
        more.append(value & 127 | 128)
        value >>= 7
    more.append(value)
    return bytes(more)
