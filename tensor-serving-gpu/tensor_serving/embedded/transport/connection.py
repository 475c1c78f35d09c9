"""One client's connection on the event loop: read in turns with the others, and closed when it stalls."""

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from tensor_serving.embedded.transport import frames, limits
from tensor_serving.embedded.transport.calls import Calls
from tensor_serving.embedded.transport.frame_handler import CONNECTION_WINDOW, STREAM_WINDOW, FrameHandler
from tensor_serving.embedded.transport.frame_writer import FrameWriter
from tensor_serving.embedded.transport.frames import ProtocolError
from tensor_serving.embedded.transport.limits import FloodBudget

if TYPE_CHECKING:
    from tensor_serving.embedded.transport.server import Server

log = logging.getLogger(__name__)

_MAX_FRAME = 256 * 1024  # bytes of the largest frame we accept; it can hold 32 images

_OPENING = frames.settings(
    (frames.HEADER_TABLE_SIZE, 0),
    (frames.MAX_STREAMS, limits.MAX_STREAMS),
    (frames.INITIAL_WINDOW_SIZE, STREAM_WINDOW),
    (frames.MAX_FRAME_SIZE, _MAX_FRAME),
    (frames.MAX_HEADER_LIST_SIZE, limits.MAX_HEADERS_BYTES),
) + frames.window_update(0, CONNECTION_WINDOW - frames.WINDOW)


class Connection(asyncio.Protocol):
    """Reads complete frames and passes them to the handler; ends when the client violates HTTP/2 or stalls."""

    _transport: asyncio.Transport

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._writer, self._budget = FrameWriter(server.now), FloodBudget()
        self._calls = Calls(server, self._writer, self._budget)
        self._frames = FrameHandler(self._calls, self._writer, self._budget)
        self._got = bytearray()  # received, but not handled yet
        self._preface_received = self._ended = False
        self._in_turns_until = 0.0  # set when it sent more frames than a turn may have
        self._begun = self._received_at = server.now

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.register(self):
            self._transport.abort()
            return
        self._writer.connect(self._transport)
        self._transport.write(_OPENING)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        self._ended = True
        self._server.unregister(self)
        self._calls.close()

    def data_received(self, data: bytes) -> None:
        self._received_at = self._server.now
        if self._in_turns_until > self._received_at:
            self._got += data
            self._wait_for_turn()
        elif self._got:
            self._got += data
            self.read_on()
        else:
            used = self._read(data)
            if used < len(data):
                self._got += memoryview(data)[used:]
            self._end_turn()

    def pause_writing(self) -> None:
        self._writer.blocked = True

    def resume_writing(self) -> None:
        self._writer.blocked = False
        self._calls.flow.flush()
        self._writer.write()

    # ---- for the server

    @property
    def busy(self) -> bool:
        """Whether frames are not sent yet."""
        return self._writer.buffered > 0

    @property
    def idle(self) -> bool:
        """Whether none of its calls is running: all wait for the client."""
        return self._calls.are_idle

    @property
    def last_use(self) -> tuple[bool, float]:
        """Sort key of connections by their last use; those that never made a call come first."""
        return self._calls.last > 0, self._received_at

    def read_on(self) -> None:
        """Handle the buffered frames of one turn."""
        if not self._ended:
            used = self._read(self._got)
            del self._got[:used]
            self._end_turn()

    def check(self, now: float) -> None:
        """End the connection, or the calls on it, if they stall; called every CHECK_INTERVAL_S."""
        self._budget.refill()
        if self._ended:
            return
        if not self._preface_received:
            if now - self._begun > limits.PREFACE_TIMEOUT_S:
                self.abort()
        elif self._writer.is_stalled(now, self._calls.flow.waits):
            self._end(frames.ENHANCE_YOUR_CALM, f"answers not read for {limits.STALL_TIMEOUT_S:g} s")
        else:
            self._calls.refuse_stalled(now)
            self._writer.write()

    def close(self) -> None:
        """Close it with GOAWAY: none of its calls is running, and the client may connect again."""
        text = "too many connections; this one was unused for the longest time"
        self._writer.add(frames.goaway(self._calls.last, frames.NO_ERROR, text))
        self._writer.write()
        self._transport.close()

    def abort(self) -> None:
        """Close it at once."""
        self._transport.abort()

    # ---- frames in

    def _end_turn(self) -> None:
        """Send the frames of this turn; if the turn was used up, continue to read in the next one."""
        if self._calls.flow.is_ready:
            self._calls.flow.flush()
        self._writer.write()
        if self._ended:
            self._got.clear()
        elif self._budget.turn <= 0:
            self._in_turns_until = self._server.now + limits.FLOOD_S + limits.CHECK_INTERVAL_S
            self._wait_for_turn()
        elif self._in_turns_until:
            if self._in_turns_until <= self._server.now:
                self._in_turns_until = 0.0
            self._transport.resume_reading()

    def _wait_for_turn(self) -> None:
        self._transport.pause_reading()
        self._server.wait_for_turn(self)

    def _read(self, data: bytes | bytearray) -> int:
        """Handle the complete frames, at most one turn's, and return their length in bytes."""
        at = 0
        self._budget.turn = limits.FRAMES_PER_TURN
        try:
            if not self._preface_received:
                start = data[: len(frames.PREFACE)]
                if not frames.PREFACE.startswith(start):
                    raise ProtocolError("this port speaks HTTP/2")
                if len(start) < len(frames.PREFACE):
                    return 0
                self._preface_received, at = True, len(start)
            while len(data) - at >= frames.HEAD and self._budget.turn > 0:
                size, kind, flags, stream = frames.read_head(data, at)
                if size > _MAX_FRAME:
                    raise ProtocolError(f"a frame of {size} bytes", frames.FRAME_SIZE_ERROR)
                end = at + frames.HEAD + size
                if end > len(data):
                    break
                payload = bytes(data[at + frames.HEAD : end])
                at = end
                self._budget.turn -= 1
                self._frames.handle(kind, flags, stream, payload)
        except ProtocolError as error:
            log.debug("a client violated HTTP/2: %s", error)
            self._end(error.code, str(error))
            return len(data)
        return at

    def _end(self, code: int, text: str) -> None:
        """Send GOAWAY with the reason, cancel all calls, and close after the client had time to read it."""
        if self._ended:
            return
        self._ended = True
        self._calls.close()
        self._writer.add(frames.goaway(self._calls.last, code, text))
        self._writer.write()
        if not self._transport.is_closing():
            self._transport.pause_reading()  # closing with unread bytes would reset the connection and lose the reason
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._server.loop.call_later(limits.CLOSE_TIMEOUT_S, self._transport.abort)
