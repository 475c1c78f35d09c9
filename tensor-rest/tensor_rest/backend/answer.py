"""The response of a unary call: built from the parts of its stream, it returns the message or raises RpcError."""

from collections.abc import Mapping
from urllib.parse import unquote

from tensor_rest.backend.frames import ProtocolError
from tensor_rest.backend.status import Code, RpcError

PREFIX = 5  # bytes before a message: whether it is compressed, and its length
_MAX_DETAILS = 8192  # characters of grpc-message as received

_BY_HTTP_STATUS = {
    "400": Code.INTERNAL,
    "401": Code.UNAUTHENTICATED,
    "403": Code.PERMISSION_DENIED,
    "404": Code.UNIMPLEMENTED,
    "429": Code.UNAVAILABLE,
    "502": Code.UNAVAILABLE,
    "503": Code.UNAVAILABLE,
    "504": Code.UNAVAILABLE,
}
"""gRPC status for the HTTP status of a response that is not gRPC; any other is UNKNOWN."""

_BY_RESET = {7: Code.UNAVAILABLE, 8: Code.CANCELLED, 11: Code.RESOURCE_EXHAUSTED, 12: Code.PERMISSION_DENIED}
"""HTTP/2's REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY; any other is INTERNAL."""


def reset(code: int) -> RpcError:
    """The error of a stream that the server reset."""
    return RpcError(_BY_RESET.get(code, Code.INTERNAL), f"the server reset the stream (HTTP/2 error {code})")


class Answer:
    """Collects one answer of at most `most` bytes. `ended`: it is complete; `begun`: its header block has arrived."""

    def __init__(self, most: int) -> None:
        self.ended = False
        self._most = most
        self._fields: Mapping[str, str] | None = None
        self._last: Mapping[str, str] = {}
        self._body = bytearray()

    @property
    def begun(self) -> bool:
        return self._fields is not None

    def add_fields(self, fields: Mapping[str, str], ends: bool) -> None:
        """Add a header block: the first, which may be the whole answer, or the trailers."""
        if self._fields is None:
            if fields.get(":status", "").startswith("1") and not ends:
                return  # informational: the answer follows
            self._fields = fields
            if not ends:
                self._check()
        elif not ends:
            raise ProtocolError("a header block amid the answer")
        self._last = fields
        self.ended = ends

    def add_data(self, content: bytes, ends: bool) -> None:
        """Add a piece of the message. Raises RpcError as soon as the message cannot be accepted."""
        if self._fields is None:
            raise ProtocolError("data before the header block")
        self._body += content
        if len(self._body) >= PREFIX:
            self._check_size()
        if ends:
            raise RpcError(Code.UNKNOWN, "the answer ended without a status")

    def message(self) -> bytes:
        """Return the message of a complete answer. Raises RpcError if its status is not OK, or if it is invalid."""
        if self._fields is self._last:
            self._check()
        status = self._last.get("grpc-status", "")
        if status != "0":
            raise _error(status, self._last)
        if len(self._body) < PREFIX or len(self._body) != PREFIX + self._size():
            raise RpcError(Code.INTERNAL, f"the status is OK, but the message is not whole ({len(self._body)} bytes)")
        return bytes(memoryview(self._body)[PREFIX:])

    def _size(self) -> int:
        return int.from_bytes(self._body[1:PREFIX], "big")

    def _check_size(self) -> None:
        if self._body[0]:
            raise RpcError(Code.INTERNAL, "the answer is compressed, which the request did not allow")
        size = self._size()
        if size > self._most:
            raise RpcError(Code.RESOURCE_EXHAUSTED, f"Received message larger than max ({size} vs. {self._most})")
        if len(self._body) > PREFIX + size:
            raise RpcError(Code.INTERNAL, "the answer has more than one message")

    def _check(self) -> None:
        """Raise RpcError if this is not a gRPC answer."""
        fields = self._fields or {}
        if "grpc-status" in fields:
            return
        status, kind = fields.get(":status", ""), fields.get("content-type", "")
        if status != "200":
            raise RpcError(_BY_HTTP_STATUS.get(status, Code.UNKNOWN), f"answered with HTTP status {status[:20]!r}")
        if not kind.startswith("application/grpc"):
            raise RpcError(Code.UNKNOWN, f"answered with content-type {kind[:80]!r}, wanted application/grpc")


def _error(status: str, fields: Mapping[str, str]) -> RpcError:
    details = unquote(fields.get("grpc-message", "")[:_MAX_DETAILS], errors="replace")
    try:
        code = Code(int(status))
    except ValueError:
        return RpcError(Code.UNKNOWN, f"grpc-status {status[:20]!r}: {details}")
    return RpcError(code, details)
