"""Answers on their way to one client, as far as it takes them."""

import asyncio
import logging
from typing import TYPE_CHECKING

import grpc

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.transport import frames
from tensor_serving.embedded.transport.call import OPENING, Call, Status
from tensor_serving.embedded.transport.frames import ProtocolError

if TYPE_CHECKING:
    from tensor_serving.embedded.transport.server import Server

log = logging.getLogger(__name__)

_FAREWELL_SECONDS = 1.0  # a client that broke the rules gets to read what it did wrong
_MOST_OWED = 1 << 20  # bytes that a client has not read, from which on it gets an end and no more to read


class Answers(asyncio.Protocol):
    """The half of a connection that writes."""

    _transport: asyncio.Transport

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._loop = server.loop
        self._calls: dict[int, Call] = {}
        self._last = 0  # the newest stream
        self._taken_of: dict[int, int] = {}  # bytes of each call's data that the client does not know yet to be taken
        self._window = frames.WINDOW  # bytes the client takes,
        self._stream_window = frames.WINDOW  # of a new call,
        self._most_frame = frames.LEAST_FRAME  # in a frame
        self._unsent: dict[int, Call] = {}  # calls whose answer waits for room
        self._blocked = False  # the client does not read
        self._out: list[bytes] = []  # what is to be written at the end of a turn

    def _say(self, call: Call, answer: bytes | None, status: Status | None) -> None:
        """Send a message, and the status after the last one; what there is no room for waits."""
        if self._calls.get(call.stream) is not call:
            return  # reset meanwhile
        call.status = status
        body = b""
        if answer is not None:
            body = b"\0" + len(answer).to_bytes(4, "big") + answer
            if not call.opened:
                self._out.append(frames.frame(frames.HEADERS, frames.END_HEADERS, call.stream, OPENING))
                call.opened = True
        if call.answer or self._blocked or len(body) > min(self._window, call.window, self._most_frame):
            self._server.hold(call, len(body), bounded=False)
            call.answer += body
            self._unsent[call.stream] = call
            self._flush()
            return
        if body:
            self._window -= len(body)
            call.window -= len(body)
            self._out.append(frames.frame(frames.DATA, 0, call.stream, body))
        if status:
            self._finish(call, status)

    def _flush(self) -> None:
        """Send of what waits as much as the client takes, call after call."""
        if self._transport.is_closing():
            return
        for call in list(self._unsent.values()):
            while not self._blocked and (room := min(self._window, call.window, self._most_frame)) > 0:
                piece = bytes(memoryview(call.answer)[:room])
                if not piece:
                    break
                del call.answer[:room]
                self._window -= len(piece)
                call.window -= len(piece)
                self._transport.writelines([*self._out, frames.frame(frames.DATA, 0, call.stream, piece)])
                self._out.clear()
            if not call.answer:
                del self._unsent[call.stream]
                if call.waits and not call.waits.done():
                    call.waits.set_result(None)
                if call.status:
                    self._finish(call, call.status)

    def _finish(self, call: Call, status: Status) -> None:
        flags = frames.END_HEADERS | frames.END_STREAM
        self._out.append(frames.frame(frames.HEADERS, flags, call.stream, call.ending(*status)))
        self._forget(call, cancel=False)

    def _write(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _forget(self, call: Call, cancel: bool) -> None:
        """Let go of a call that is over."""
        del self._calls[call.stream]
        self._unsent.pop(call.stream, None)
        self._taken_of.pop(call.stream, None)
        if call.timer:
            call.timer.cancel()
        if cancel and call.task:
            call.task.cancel()
        if call.waits and not call.waits.done():
            call.waits.set_result(None)
        self._server.release(call)

    def _refuse(self, call: Call, error: Exception) -> None:
        """End a call with the status of `error`; whatever of its answer waits is dropped."""
        if not isinstance(error, ServingError):
            log.error("unexpected error in %s", call.path, exc_info=error)
            error = ServingError(grpc.StatusCode.UNKNOWN, "internal error; the server's log has the details")
        if self._calls.get(call.stream) is not call:
            return
        call.answer.clear()
        self._say(call, None, (error.code, error.text))
        if not call.whole:
            self._out.append(frames.reset(call.stream, frames.NO_ERROR))  # the client need not send the rest

    def _window_update(self, _flags: int, stream: int, payload: bytes) -> None:
        more = frames.number(payload)
        call = self._calls.get(stream)
        if not stream:
            self._window += more
        elif call:
            call.window += more
        if not more or max(self._window, call.window if call else 0) > frames.WIDEST_WINDOW:
            raise ProtocolError(f"a window {more} bytes wider", frames.FLOW_CONTROL_ERROR)
        self._flush()

    def _acknowledge(self, frame: bytes) -> None:
        self._check_owed()
        self._out.append(frame)

    def _check_owed(self) -> None:
        """Raise ProtocolError where a client asks more than it reads."""
        if self._transport.get_write_buffer_size() > _MOST_OWED + self._most_frame:
            raise ProtocolError("more asked than read", frames.ENHANCE_YOUR_CALM)

    def _end(self, code: int, text: str) -> None:
        self._out.append(frames.goaway(self._last, code, text))
        self._write()
        self._transport.close()
        self._loop.call_later(_FAREWELL_SECONDS, self._transport.abort)
