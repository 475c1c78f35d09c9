"""HTTP/2's frames as bytes (RFC 9113), as far as a gRPC server needs them."""

import struct
from collections.abc import Iterable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = 9  # bytes of a frame's header
WINDOW = 65_535  # initial window in bytes, until a SETTINGS frame changes it
MAX_WINDOW = 2**31 - 1
MIN_MAX_FRAME = 16_384  # bytes of payload that every peer accepts

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)

NO_ERROR, PROTOCOL_ERROR, _INTERNAL, FLOW_CONTROL_ERROR, _TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(7)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 8, 9, 11

_FRAME_HEAD = struct.Struct(">HBBBL")  # length (24 bits), type, flags, stream
_SETTING = struct.Struct(">HL")


class ProtocolError(Exception):
    """The peer violates HTTP/2: the connection ends with the error `code`."""

    def __init__(self, text: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a whole frame."""
    size = len(payload)
    return _FRAME_HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def read_head(data: bytes | bytearray, at: int) -> tuple[int, int, int, int]:
    """Return size, type, flags and stream of the frame that begins at `at`."""
    high, low, kind, flags, stream = _FRAME_HEAD.unpack_from(data, at)
    return high << 8 | low, kind, flags, stream & 0x7FFFFFFF


def settings(*values: tuple[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*value) for value in values))


def read_settings(payload: bytes) -> Iterable[tuple[int, int]]:
    """Return number and value of each setting."""
    if len(payload) % _SETTING.size:
        raise ProtocolError(f"SETTINGS with {len(payload)} bytes", FRAME_SIZE_ERROR)
    return _SETTING.iter_unpack(payload)


def number(payload: bytes) -> int:
    """Return the 31-bit number that a payload consists of."""
    if len(payload) != 4:
        raise ProtocolError(f"a number of {len(payload)} bytes", FRAME_SIZE_ERROR)
    return int.from_bytes(payload, "big") & MAX_WINDOW


def window_update(stream: int, more: int) -> bytes:
    """Return the frame that lets the peer send `more` further bytes."""
    return frame(WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


def reset(stream: int, code: int) -> bytes:
    """Return the frame that ends a stream at once."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last_stream: int, code: int, text: str) -> bytes:
    """Return the frame that announces the end of a connection, with the reason."""
    return frame(GOAWAY, 0, 0, last_stream.to_bytes(4, "big") + code.to_bytes(4, "big") + text.encode())


def content(flags: int, payload: bytes) -> bytes:
    """Return the payload of a DATA or HEADERS frame without its padding."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ProtocolError("more padding than there are bytes")
    return payload[1 : len(payload) - payload[0]]
