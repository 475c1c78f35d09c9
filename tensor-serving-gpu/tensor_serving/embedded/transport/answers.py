"""Answers on their way to one client, as far as it takes them."""

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import TYPE_CHECKING

import grpc

from tensor_serving.embedded.transport import frames, limits
from tensor_serving.embedded.transport.call import Call, Status
from tensor_serving.embedded.transport.frames import ProtocolError

if TYPE_CHECKING:
    from tensor_serving.embedded.transport.server import Server


class Answers(asyncio.Protocol, ABC):
    """The half of a connection that writes."""

    _transport: asyncio.Transport

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._loop = server.loop
        self._calls: dict[int, Call] = {}
        self._last = 0  # the newest stream
        self._window = frames.WINDOW  # bytes the client takes,
        self._stream_window = frames.WINDOW  # of a new call (the windows of calls are relative to it),
        self._max_frame = frames.LEAST_FRAME  # in a frame
        self._unsent: dict[int, Call] = {}  # calls whose answer waits for window,
        self._ready: OrderedDict[int, Call] = OrderedDict()  # and those of them whose own window is open
        self._unread = 0  # bytes of these answers
        self._blocked = False  # the client does not read
        self._out: list[bytes] = []  # what is to be written at the end of a turn
        self._written = 0  # bytes
        self._progress = (0, server.now)  # bytes the client had taken at a time, the last that was progress
        self._credit = limits.CONTROL_FRAMES  # that the client may still send
        self._ended = False

    def _send(self, call: Call, body: bytes, status: Status | None) -> None:
        """Send of an answer, and the status after the last of it; what the windows do not allow waits."""
        if self._calls.get(call.stream) is not call:
            return  # reset meanwhile
        if not body and not call.answer:
            if status:
                self._finish(call, status)
            return
        fits = len(body) <= min(self._window, call.window + self._stream_window, self._max_frame)
        if call.answer or self._blocked or not fits:
            self._keep(call, body, status)
            return
        if not call.opened:
            self._open(call)
        self._window -= len(body)
        call.window -= len(body)
        self._out.append(frames.frame(frames.DATA, 0, call.stream, body))
        if status:
            self._finish(call, status)

    def _keep(self, call: Call, body: bytes, status: Status | None) -> None:
        size = len(body)
        too_much = self._unread > 0 and self._unread + size > 2 * limits.MAX_UNREAD_BYTES
        if size and (too_much or not self._server.answers.fits(self._unread, size)):
            self._drop(call)
            text = f"{self._unread} bytes of answers are not read yet; read them, or make fewer calls at a time"
            self._finish(call, (grpc.StatusCode.RESOURCE_EXHAUSTED, text))
            return
        if not call.opened:
            self._open(call)
        call.status = status
        call.answer += body
        self._count_unread(size)
        self._unsent[call.stream] = self._ready[call.stream] = call
        self._flush()

    def _open(self, call: Call) -> None:
        self._out.append(frames.frame(frames.HEADERS, frames.END_HEADERS, call.stream, call.opening))
        call.opened = True

    def _flush(self) -> None:
        """Send of what waits as much as the client takes, call after call."""
        while self._ready and not self._blocked and self._window > 0 and not self._transport.is_closing():
            stream, call = next(iter(self._ready.items()))
            allowed = min(self._window, call.window + self._stream_window, self._max_frame)
            if allowed <= 0:
                del self._ready[stream]
                continue
            piece = bytes(memoryview(call.answer)[:allowed])
            del call.answer[:allowed]
            self._count_unread(-len(piece))
            self._window -= len(piece)
            call.window -= len(piece)
            self._credit += len(piece) // limits.BYTES_PER_CONTROL_FRAME
            self._out.append(frames.frame(frames.DATA, 0, stream, piece))
            self._write()
            if not call.answer:
                del self._unsent[stream], self._ready[stream]
                if call.waits and not call.waits.done():
                    call.waits.set_result(None)
                if call.status:
                    self._finish(call, call.status)

    def _finish(self, call: Call, status: Status) -> None:
        flags = frames.END_HEADERS | frames.END_STREAM
        self._out.append(frames.frame(frames.HEADERS, flags, call.stream, call.ending(*status)))
        if call.task:
            self._credit += limits.CONTROL_FRAMES_PER_CALL
        self._forget(call, cancel=False)

    def _drop(self, call: Call) -> None:
        """Send no more of an answer."""
        self._count_unread(-len(call.answer))
        call.answer.clear()
        self._unsent.pop(call.stream, None)
        self._ready.pop(call.stream, None)

    def _count_unread(self, size: int) -> None:
        self._unread += size
        self._server.answers.used += size

    def _write(self) -> None:
        if self._out and not self._transport.is_closing():
            data = b"".join(self._out)
            self._written += len(data)
            self._transport.write(data)
        self._out.clear()

    @abstractmethod
    def _forget(self, call: Call, cancel: bool) -> None:
        """Drop a call that is over; `cancel` ends its work as well."""

    # ---- the client's windows

    def _window_update(self, _flags: int, stream: int, payload: bytes) -> None:
        self._spend()
        more = frames.number(payload)
        if not more:
            raise ProtocolError("a window no wider")
        if not stream:
            self._window += more
            if self._window > frames.WIDEST_WINDOW:
                raise ProtocolError(f"a window {more} bytes wider", frames.FLOW_CONTROL_ERROR)
        elif call := self._calls.get(stream):
            call.window += more
            if call.window + self._stream_window > frames.WIDEST_WINDOW:
                self._out.append(frames.reset(stream, frames.FLOW_CONTROL_ERROR))
                self._forget(call, cancel=True)
            elif stream in self._unsent:
                self._ready[stream] = call
        else:
            self._check_begun(stream)

    def _widen(self, window: int) -> None:
        """Follow a new window for all calls."""
        widest = max((call.window for call in self._calls.values()), default=0)
        if max(0, widest) + window > frames.WIDEST_WINDOW:
            raise ProtocolError(f"a window of {window} bytes", frames.FLOW_CONTROL_ERROR)
        self._stream_window = window
        self._ready.update(self._unsent)

    def _check_begun(self, stream: int) -> None:
        if stream > self._last or stream % 2 == 0:
            raise ProtocolError(f"stream {stream} has not begun")

    # ---- floods and stalls

    def _spend(self, frames_: int = 1) -> None:
        """Count a frame without an answer. Raises ProtocolError for one too many."""
        self._credit -= frames_
        if self._credit < 0:
            raise ProtocolError("too many frames beside calls", frames.ENHANCE_YOUR_CALM)

    def _check_unread(self) -> None:
        """Raise ProtocolError where a client sends more requests than it reads answers."""
        if self._transport.get_write_buffer_size() > limits.MAX_UNREAD_CONTROL_BYTES + self._max_frame:
            raise ProtocolError("more requested than read", frames.ENHANCE_YOUR_CALM)

    def _stalls(self, now: float) -> bool:
        """Whether the client takes nothing of what waits for it; called every CHECK_INTERVAL_S."""
        buffered = self._transport.get_write_buffer_size()
        taken, (before, since) = self._written - buffered, self._progress
        waits = self._unsent or buffered
        if not waits or taken - before >= limits.MIN_PROGRESS_BYTES:
            self._progress = taken, now
            return False
        return now - since > limits.STALL_TIMEOUT_S

    def _end(self, code: int, text: str) -> None:
        """Say why, stop all work for this client, and close when it had the time to read that."""
        if self._ended:
            return
        self._ended = True
        for call in list(self._calls.values()):
            self._forget(call, cancel=True)
        self._out.append(frames.goaway(self._last, code, text))
        self._write()
        if not self._transport.is_closing():
            self._transport.pause_reading()  # closing with bytes unread would take the reason from the client
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._loop.call_later(limits.CLOSE_TIMEOUT_S, self._transport.abort)
