"""Header blocks (RFC 7541): read by a fast path for gRPC's usual clients, written without a table.

Our settings set the table size to 0, so that the same bytes always mean the same fields. Some clients use a table until
they have processed our SETTINGS, and some compress strings: such blocks are read by the `hpack` package, which handles
every case and costs ten times as much.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

import hpack
from hpack.table import HeaderTable

from tensor_serving.embedded.transport.frames import COMPRESSION_ERROR, ProtocolError
from tensor_serving.embedded.transport.limits import MAX_HEADERS_BYTES

_STATIC = tuple((name.decode(), value.decode()) for name, value in HeaderTable.STATIC_TABLE)


class _UnusualError(Exception):
    """A block that the fast path cannot read."""


class HeaderDecoder:
    """Reads the header blocks of one connection, in order."""

    def __init__(self) -> None:
        self._decoder: hpack.Decoder | None = None
        self._acknowledged = False

    def on_settings_ack(self) -> None:
        """Record that the client has applied our settings. Blocks that still use its old table can be read, too."""
        self._acknowledged = True

    def read(self, block: bytes) -> dict[str, str]:
        """Return the fields; the last one of several with the same name. Raises ProtocolError."""
        try:
            return _plain(block, tableless=self._decoder is not None and self._decoder.header_table_size == 0)
        except (_UnusualError, IndexError):
            return self._unusual(block)

    def _unusual(self, block: bytes) -> dict[str, str]:
        if self._decoder is None:
            self._decoder = hpack.Decoder(MAX_HEADERS_BYTES)
        if self._acknowledged and block[:1] > b"\x20" and block[:1] < b"\x40":
            raise ProtocolError("a header table larger than our settings allow", COMPRESSION_ERROR)
        try:
            decoded = self._decoder.decode(block, raw=True)
        except (hpack.HPACKError, IndexError, ValueError) as error:
            raise ProtocolError(f"a header block that cannot be read: {error}", COMPRESSION_ERROR) from error
        found: dict[str, str] = {}
        for raw, value in decoded:
            name = bytes(raw).decode("latin-1")
            if name in found and name.startswith(":"):
                raise ProtocolError(f"two fields {name}")
            found[name] = bytes(value).decode("latin-1")
        return found


def check_request(found: Mapping[str, str]) -> None:
    """Raise ProtocolError unless these fields may begin a request (RFC 9113, 8.2 and 8.3)."""
    problem = _problem(tuple(found), found.get("te"))
    if problem or not found[":path"]:
        raise ProtocolError(problem or "an empty :path")


def check_trailers(found: Mapping[str, str]) -> None:
    """Raise ProtocolError unless these fields may end a request."""
    if any(name.startswith(":") for name in found):
        raise ProtocolError("a pseudo-header field in trailers")


@lru_cache(256)  # clients send the same names with each call
def _problem(names: tuple[str, ...], te: str | None) -> str:
    """Return what is wrong with the names and order of a request's fields, and with `te`."""
    pseudo = [name for name in names if name.startswith(":")]
    if list(names[: len(pseudo)]) != pseudo or not _REQUIRED <= set(pseudo) <= _PSEUDO:
        return f"the pseudo-header fields {pseudo}"[:200]
    wrong = [name for name in names if name in _OF_HTTP_1 or name != name.lower()]
    if te not in (None, "trailers"):
        wrong.append("te")
    return f"the fields {wrong}"[:200] if wrong else ""


_REQUIRED = {":method", ":scheme", ":path"}
_PSEUDO = _REQUIRED | {":authority"}
_OF_HTTP_1 = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}


def written(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return a header block of literal fields without indexing."""
    return b"".join(
        b"\0" + _length(len(name)) + name.encode() + _length(len(value)) + value.encode() for name, value in fields
    )


def _plain(block: bytes, tableless: bool) -> dict[str, str]:
    """Return the fields of a block without compressed strings and without a dynamic table.

    With table size 0 a field "with incremental indexing" is not stored, so that it is like any other literal.
    """
    found: dict[str, str] = {}
    at, end = 0, len(block)
    while at < end:
        first = block[at]
        at += 1
        if first & 0x80:
            name, value = _static(first & 0x7F)
            if name in found:
                raise _UnusualError
            found[name] = value
            continue
        if first & 0x40:
            if not tableless:
                raise _UnusualError
            index, most = first & 0x3F, 0x3F
        elif first & 0x20:
            raise _UnusualError  # a dynamic table size update
        else:
            index, most = first & 0x0F, 0x0F
        if index == most:
            index, at = _more(block, at, most)
        if index:
            name = _static(index)[0]
        else:
            name, at = _text(block, at)
        if name in found:
            raise _UnusualError
        found[name], at = _text(block, at)
    return found


def _static(index: int) -> tuple[str, str]:
    if not 0 < index <= len(_STATIC):
        raise _UnusualError
    return _STATIC[index - 1]


def _text(block: bytes, at: int) -> tuple[str, int]:
    length = block[at]
    at += 1
    if length & 0x80:  # Huffman-coded
        raise _UnusualError
    if length == 0x7F:
        length, at = _more(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise _UnusualError
    return block[at:end].decode("latin-1"), end


def _more(block: bytes, at: int, so_far: int) -> tuple[int, int]:
    """Return the value of a number that does not fit into its first byte; at most three bytes follow."""
    value, shift = so_far, 0
    for _ in range(3):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
    raise _UnusualError


def _length(value: int) -> bytes:
    if value < 0x7F:
        return bytes((value,))
    value -= 0x7F
    out = bytearray(b"\x7f")
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
