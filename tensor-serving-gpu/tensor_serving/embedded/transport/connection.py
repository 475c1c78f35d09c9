"""One client on the event loop: its bytes in turns with the others', and an end to what does not move."""

import asyncio
import logging
from typing import TYPE_CHECKING, cast

import grpc

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.transport import frames, limits
from tensor_serving.embedded.transport.frames import ProtocolError
from tensor_serving.embedded.transport.incoming import CONNECTION_WINDOW, STREAM_WINDOW, Incoming

if TYPE_CHECKING:
    from tensor_serving.embedded.transport.server import Server

log = logging.getLogger(__name__)

_FRAME = 256 * 1024  # bytes of the largest frame we take: 32 pictures in one

_OPENING = frames.settings(
    (frames.HEADER_TABLE_SIZE, 0),
    (frames.MAX_STREAMS, limits.MAX_STREAMS),
    (frames.INITIAL_WINDOW_SIZE, STREAM_WINDOW),
    (frames.MAX_FRAME_SIZE, _FRAME),
    (frames.MAX_HEADER_LIST_SIZE, limits.MAX_HEADERS_BYTES),
) + frames.window_update(0, CONNECTION_WINDOW - frames.WINDOW)


class Connection(Incoming):
    """Speaks with one client, on the event loop."""

    def __init__(self, server: "Server") -> None:
        super().__init__(server)
        self._got = bytearray()  # of frames that are not done yet
        self._greeted = False
        self._in_turns_until = 0.0  # it had more than a turn's frames at once
        self._received_at = server.now

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.join(self):
            self._transport.abort()
            return
        self._transport.write(_OPENING)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        self._ended = True
        self._server.leave(self)
        for call in list(self._calls.values()):
            self._forget(call, cancel=True)

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
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._flush()
        self._write()

    # ---- for the server

    @property
    def busy(self) -> bool:
        """Whether something is not sent yet."""
        return self._transport.get_write_buffer_size() > 0

    @property
    def idle(self) -> bool:
        """Whether no call of it is worked on: what it has of calls waits for the client."""
        return all(call.task is None or call.status for call in self._calls.values())

    @property
    def last_use(self) -> tuple[bool, float]:
        """Compares connections: those that never made a call come first."""
        return self._last > 0, self._received_at

    def read_on(self) -> None:
        """Have a turn with the bytes that are there."""
        if not self._ended:
            used = self._read(self._got)
            del self._got[:used]
            self._end_turn()

    def check(self, now: float) -> None:
        """End what does not move; called every CHECK_INTERVAL_S."""
        self._credit = min(limits.CONTROL_FRAMES, self._credit + limits.CONTROL_FRAMES_PER_S)
        if self._ended:
            return
        if not self._greeted:
            if now - self._progress[1] > limits.PREFACE_TIMEOUT_S:
                self.abort()
        elif self._stalls(now):
            self._end(frames.ENHANCE_YOUR_CALM, f"answers not read for {limits.STALL_TIMEOUT_S:g} s")
        else:
            for call in [call for call in self._calls.values() if not (call.whole or call.status)]:
                timeout = limits.STALL_TIMEOUT_S * (1 + call.received / limits.MIN_PROGRESS_BYTES)
                if now - call.begun > timeout:
                    text = f"{call.received} bytes of the request came in {now - call.begun:.0f} s, and no end"
                    self._refuse(call, ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, text))
            self._write()

    def close(self) -> None:
        """End it in good order: no call of it is worked on, and the client may connect again."""
        self._out.append(frames.goaway(self._last, frames.NO_ERROR, "unused for longest of too many connections"))
        self._write()
        self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()

    # ---- frames in

    def _end_turn(self) -> None:
        """Send what the turn brought; go on reading later, if it was a long one."""
        if self._ready:
            self._flush()
        self._write()
        if self._ended:
            self._got.clear()
        elif self._left <= 0:
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
        """Process the whole frames, a turn's at most, and return how many bytes they were."""
        at = 0
        self._left = limits.FRAMES_PER_TURN
        try:
            if not self._greeted:
                start = data[: len(frames.PREFACE)]
                if not frames.PREFACE.startswith(start):
                    raise ProtocolError("this port speaks HTTP/2")
                if len(start) < len(frames.PREFACE):
                    return 0
                self._greeted, at = True, len(start)
            while len(data) - at >= frames.HEAD and self._left > 0:
                size, kind, flags, stream = frames.read_head(data, at)
                if size > _FRAME:
                    raise ProtocolError(f"a frame of {size} bytes", frames.FRAME_SIZE_ERROR)
                end = at + frames.HEAD + size
                if end > len(data):
                    break
                payload = bytes(data[at + frames.HEAD : end])
                at = end
                self._left -= 1
                self._do(kind, flags, stream, payload)
        except ProtocolError as error:
            log.debug("a client broke the rules: %s", error)
            self._end(error.code, str(error))
            return len(data)
        return at
