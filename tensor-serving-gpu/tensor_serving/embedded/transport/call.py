"""One call, from its first header to its status."""

import asyncio
import re
import time
from collections.abc import Mapping
from urllib.parse import quote

import grpc

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.transport import fields
from tensor_serving.embedded.transport.message import ENCODINGS, Message

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")  # as grpc-message travels

OPENING = b"\x88" + fields.written(  # 0x88 is :status 200
    (("content-type", "application/grpc"), ("grpc-accept-encoding", ",".join(("identity", *ENCODINGS))))
)
"""The header block before an answer."""

_OK = fields.written((("grpc-status", "0"),))
_NOTHING = Message("", 0)

Status = tuple[grpc.StatusCode, str]


class Call:
    """What a handler gets as its context, and what the connection knows of it."""

    __slots__ = (
        *("answer", "deadline", "held", "message", "opened", "path", "status", "stream", "task", "timer", "waits"),
        *("whole", "window"),
    )

    def __init__(self, stream: int, window: int) -> None:
        self.stream, self.path = stream, ""
        self.window = window  # bytes the client still takes
        self.message = _NOTHING
        self.whole = False  # the client has sent all of it
        self.deadline: float | None = None  # of time.monotonic
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.held = 0  # bytes of it in memory, as the server counts them
        self.opened = False  # the answer's header block is sent
        self.answer = bytearray()  # what of the answer is not sent
        self.status: Status | None = None  # to be sent after that: the answer is complete
        self.waits: asyncio.Future[None] | None = None  # done when the answer so far is sent

    def begin(self, found: Mapping[str, str], largest: int) -> None:
        """Learn from its header block what is asked for. Raises ServingError for what is no call of gRPC's."""
        self.path = found.get(":path", "")
        kind = found.get("content-type", "")
        if found.get(":method") != "POST" or not kind.startswith("application/grpc"):
            text = "this port speaks gRPC: POST with content-type application/grpc"
            raise ServingError(grpc.StatusCode.INTERNAL, text)
        self.message = Message(found.get("grpc-encoding", ""), largest)
        if timeout := found.get("grpc-timeout"):
            match = _TIMEOUT.fullmatch(timeout)
            if not match:
                raise ServingError(grpc.StatusCode.INTERNAL, f"grpc-timeout {timeout[:20]!r} is no time")
            self.deadline = time.monotonic() + int(match[1]) * _UNITS[match[2]]

    def time_remaining(self) -> float | None:
        """Return the seconds its client still waits, None for ever. See grpc.aio.ServicerContext."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    async def abort(self, code: grpc.StatusCode, text: str = "") -> None:
        """End it with a status. See grpc.aio.ServicerContext."""
        raise ServingError(code, text)

    def ending(self, code: grpc.StatusCode, text: str) -> bytes:
        """Return the last header block, which is the only one where nothing was answered."""
        opening = b"" if self.opened else OPENING
        if code is grpc.StatusCode.OK:
            return opening + _OK
        status = (("grpc-status", str(code.value[0])), ("grpc-message", quote(text, safe=_SAFE)))
        return opening + fields.written(status)
