"""One call, from its first header to its status."""

import asyncio
import re
import time
from collections.abc import Mapping
from urllib.parse import quote

import grpc

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.transport import fields
from tensor_serving.embedded.transport.frames import ProtocolError
from tensor_serving.embedded.transport.message import ENCODINGS, Message

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_KEPT = ("x-request-id", "x-previous-attempts", "authorization")  # of the metadata
_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")  # not escaped in grpc-message

OPENING = b"\x88" + fields.written(  # 0x88 is :status 200
    (("content-type", "application/grpc"), ("grpc-accept-encoding", ",".join(("identity", *ENCODINGS))))
)
"""The header block before an answer."""

_NOT_GRPC = fields.written(((":status", "415"), ("content-type", "text/plain")))
_NOT_GRPC_TEXT = "this port speaks gRPC: POST with content-type application/grpc"

_OK = fields.written((("grpc-status", "0"),))
_NOTHING = Message("", 0)

Status = tuple[grpc.StatusCode, str]


class Call:
    """The context that a handler gets, and the connection's state of the call."""

    __slots__ = (
        *("answer", "begun", "deadline", "held", "length", "message", "opened", "opening", "page", "path"),
        *(
            "metadata",
            "received",
            "refused",
            "runs",
            "status",
            "stream",
            "taken",
            "task",
            "timer",
            "waits",
            "whole",
            "window",
        ),
    )

    def __init__(self, stream: int, now: float) -> None:
        self.stream, self.path = stream, ""
        self.metadata: tuple[tuple[str, str], ...] = ()
        self.begun = now
        self.window = 0  # bytes the client still accepts, relative to the window of a new call
        self.message = _NOTHING
        self.length: int | None = None  # content-length, if the client declares it
        self.received = 0  # bytes of data received
        self.taken = 0  # bytes of its frames that are read but not acknowledged by a window update
        self.refused: ServingError | None = None  # the error to answer with once the request is complete
        self.whole = False  # the client has sent the whole request
        self.deadline: float | None = None  # of time.monotonic
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.runs = False  # its handler is running
        self.held = 0  # bytes of the request in memory, counted in the server's pool
        self.opening, self.page = OPENING, b""  # the page is the body for HTTP clients without gRPC
        self.opened = False  # the answer's header block is sent
        self.answer = bytearray()  # the part of the answer that is not sent yet
        self.status: Status | None = None  # to be sent after the answer, which is complete then
        self.waits: asyncio.Future[None] | None = None  # done when the answer so far is sent

    def begin(self, found: Mapping[str, str], largest: int) -> None:
        """Read the fields of its header block. Raises ServingError, ProtocolError."""
        self.path = found[":path"]
        self.metadata = tuple([(name, found[name]) for name in _KEPT if name in found])
        if found[":method"] != "POST" or not found.get("content-type", "").startswith("application/grpc"):
            self.opening, self.page = _NOT_GRPC, b"" if found[":method"] == "HEAD" else f"{_NOT_GRPC_TEXT}\n".encode()
            self.refused = ServingError(grpc.StatusCode.INTERNAL, _NOT_GRPC_TEXT)
        if "content-length" in found:
            self.length = _whole_number(found["content-length"])
        self.message = Message(found.get("grpc-encoding", ""), largest)
        if timeout := found.get("grpc-timeout"):
            match = _TIMEOUT.fullmatch(timeout)
            if not match:
                raise ServingError(grpc.StatusCode.INTERNAL, f"grpc-timeout {timeout[:20]!r} is not a valid timeout")
            self.deadline = time.monotonic() + int(match[1]) * _UNITS[match[2]]

    def time_remaining(self) -> float | None:
        """Return the seconds until its deadline, None without one. See grpc.aio.ServicerContext."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the part of its metadata that handlers use. See grpc.aio.ServicerContext."""
        return self.metadata

    async def abort(self, code: grpc.StatusCode, text: str = "") -> None:
        """End it with a status. See grpc.aio.ServicerContext."""
        raise ServingError(code, text)

    def ending(self, code: grpc.StatusCode, text: str) -> bytes:
        """Return the last header block, which includes the first if that has not been sent."""
        opening = b"" if self.opened else self.opening
        if code is grpc.StatusCode.OK:
            return opening + _OK
        status = (("grpc-status", str(code.value[0])), ("grpc-message", quote(text, safe=_SAFE)))
        return opening + fields.written(status)


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ProtocolError(f"content-length {text[:20]!r}")
    return int(text[:20])
