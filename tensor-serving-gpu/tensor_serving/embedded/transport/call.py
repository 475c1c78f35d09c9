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
_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")  # as grpc-message travels

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
    """What a handler gets as its context, and what the connection knows of it."""

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
        self.window = 0  # bytes the client still takes, more than of a new call
        self.message = _NOTHING
        self.length: int | None = None  # of the data, where the client declares it,
        self.received = 0  # and how much has come
        self.taken = 0  # bytes of its frames that the client does not know yet to be taken
        self.refused: ServingError | None = None  # with this, once the request is whole
        self.whole = False  # the client has sent all of it
        self.deadline: float | None = None  # of time.monotonic
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.runs = False  # its handler is at work
        self.held = 0  # bytes of the request in memory, as the server counts them
        self.opening, self.page = OPENING, b""  # the page is for clients of HTTP without gRPC
        self.opened = False  # the answer's header block is sent
        self.answer = bytearray()  # what of the answer is not sent
        self.status: Status | None = None  # to be sent after that: the answer is complete
        self.waits: asyncio.Future[None] | None = None  # done when the answer so far is sent

    def begin(self, found: Mapping[str, str], largest: int) -> None:
        """Read from its header block what is called. Raises ServingError, ProtocolError."""
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
                raise ServingError(grpc.StatusCode.INTERNAL, f"grpc-timeout {timeout[:20]!r} is no time")
            self.deadline = time.monotonic() + int(match[1]) * _UNITS[match[2]]

    def time_remaining(self) -> float | None:
        """Return the seconds its client still waits, None for ever. See grpc.aio.ServicerContext."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what of its metadata the handlers use. See grpc.aio.ServicerContext."""
        return self.metadata

    async def abort(self, code: grpc.StatusCode, text: str = "") -> None:
        """End it with a status. See grpc.aio.ServicerContext."""
        raise ServingError(code, text)

    def ending(self, code: grpc.StatusCode, text: str) -> bytes:
        """Return the last header block, which is the only one where nothing was answered."""
        opening = b"" if self.opened else self.opening
        if code is grpc.StatusCode.OK:
            return opening + _OK
        status = (("grpc-status", str(code.value[0])), ("grpc-message", quote(text, safe=_SAFE)))
        return opening + fields.written(status)


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ProtocolError(f"content-length {text[:20]!r}")
    return int(text[:20])
