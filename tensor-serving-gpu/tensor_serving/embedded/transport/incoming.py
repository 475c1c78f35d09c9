"""Reads the frames of one client."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.transport import fields, frames, limits
from tensor_serving.embedded.transport.call import Call
from tensor_serving.embedded.transport.calls import Calls
from tensor_serving.embedded.transport.frames import ProtocolError

if TYPE_CHECKING:
    from tensor_serving.embedded.transport.server import Server

STREAM_WINDOW = 4 << 20  # bytes a client may send of a call, before we acknowledge them,
CONNECTION_WINDOW = 16 << 20  # and of all its calls


class Incoming(Calls):
    """The part of a connection that reads."""

    def __init__(self, server: "Server") -> None:
        super().__init__(server)
        self._reader = fields.Reader()
        self._block: tuple[int, int, bytearray] | None = None  # stream, flags, and a header block that goes on
        self._taken = 0  # bytes of data that the client does not know yet to be taken, of all calls

    def _do(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block and (kind != frames.CONTINUATION or stream != self._block[0]):
            raise ProtocolError("a header block that is not continued")
        if handler := _HANDLERS.get(kind):
            handler(self, flags, stream, payload)
        else:
            self._spend()  # others are to be ignored

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        if len(payload) < limits.BYTES_PER_CONTROL_FRAME and not flags & frames.END_STREAM:
            self._spend()
        self._give_back(stream, len(payload))
        piece = frames.content(flags, payload)
        call = self._calls.get(stream)
        if call is None:  # it ended early, and this was on its way; or the client knew that it was over
            self._check_begun(stream)
            self._out.append(frames.reset(stream, frames.STREAM_CLOSED))
            return
        if call.whole:
            raise ProtocolError("data after the end of a request", frames.STREAM_CLOSED)
        if call.status:
            return
        call.received += len(piece)
        try:
            if not call.refused:
                self._hold(call, len(piece))
                call.message.add(piece)
            if flags & frames.END_STREAM:
                self._start(call)
        except ServingError as error:
            self._reject(call, error)

    def _give_back(self, stream: int, size: int) -> None:
        """Let the client send as much again, before it has to wait."""
        self._taken += size
        if self._taken > CONNECTION_WINDOW // 2:
            self._out.append(frames.window_update(0, self._taken))
            self._taken = 0
        if stream in self._calls:
            taken = self._taken_of.get(stream, 0) + size
            if taken > STREAM_WINDOW // 2:
                self._out.append(frames.window_update(stream, taken))
                taken = 0
            self._taken_of[stream] = taken

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        block = frames.content(flags, payload)
        if flags & frames.WITH_PRIORITY:
            self._check_priority(stream, block[:5])
            block = block[5:]
        if flags & frames.END_HEADERS:
            self._fields(stream, flags, block)
        else:
            self._block = stream, flags, bytearray(block)

    def _continued(self, flags: int, _stream: int, payload: bytes) -> None:
        if not self._block:
            raise ProtocolError("the rest of no header block")
        stream, first, block = self._block
        block += payload
        if len(block) > limits.MAX_HEADERS_BYTES or not (payload or flags & frames.END_HEADERS):
            raise ProtocolError("a header block without an end", frames.ENHANCE_YOUR_CALM)
        if flags & frames.END_HEADERS:
            self._block = None
            self._fields(stream, first, bytes(block))

    def _fields(self, stream: int, flags: int, block: bytes) -> None:
        if len(block) > limits.MAX_HEADERS_BYTES:
            raise ProtocolError(f"a header block of {len(block)} bytes", frames.ENHANCE_YOUR_CALM)
        self._left -= len(block) // limits.HEADERS_BYTES_PER_FRAME
        found = self._reader.read(block)  # also of calls that are refused: blocks may build on each other
        if stream <= self._last or stream % 2 == 0:
            self._trailers(stream, flags, found)
            return
        fields.check_request(found)
        self._check_unread()
        self._last = stream
        if len(self._calls) >= limits.MAX_STREAMS:
            self._spend()
            self._out.append(frames.reset(stream, frames.REFUSED_STREAM))
            return
        call = self._calls[stream] = Call(stream, self._server.now)
        try:
            self._server.admit(len(self._calls))
            call.begin(found, self._server.largest)
            if call.deadline is not None:
                call.timer = self._loop.call_later(call.time_remaining() or 0.0, self._late, call)
            if flags & frames.END_STREAM:
                self._start(call)
        except ServingError as error:
            self._reject(call, error)

    def _trailers(self, stream: int, flags: int, found: dict[str, str]) -> None:
        """End the request of a call with the fields after it."""
        self._check_begun(stream)
        fields.check_trailers(found)
        call = self._calls.get(stream)
        if call is None:  # it ended early, and these were on their way
            self._spend()
            self._out.append(frames.reset(stream, frames.STREAM_CLOSED))
            return
        if call.whole or not flags & frames.END_STREAM:
            raise ProtocolError("a header block amid a call", frames.STREAM_CLOSED if call.whole else 1)
        if not call.status:
            self._start(call)

    def _reset(self, _flags: int, stream: int, payload: bytes) -> None:
        self._spend()
        frames.number(payload)
        self._check_begun(stream)
        if call := self._calls.get(stream):
            self._left -= limits.ENDED_CALL_COST
            self._forget(call, cancel=True)

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        self._spend(limits.SETTINGS_COST)
        if stream:
            raise ProtocolError(f"SETTINGS on stream {stream}")
        if flags & frames.ACK:
            if payload:
                raise ProtocolError("an acknowledgement with settings", frames.FRAME_SIZE_ERROR)
            self._reader.on_settings_ack()
            return
        window = self._stream_window
        for number, (setting, value) in enumerate(frames.read_settings(payload)):
            if number >= limits.MAX_SETTINGS:
                raise ProtocolError("too many settings in one frame", frames.ENHANCE_YOUR_CALM)
            if setting == frames.INITIAL_WINDOW_SIZE:
                if value > frames.WIDEST_WINDOW:
                    raise ProtocolError(f"a window of {value} bytes", frames.FLOW_CONTROL_ERROR)
                window = value
            elif setting == frames.MAX_FRAME_SIZE:
                if not frames.LEAST_FRAME <= value < 1 << 24:
                    raise ProtocolError(f"frames of {value} bytes")
                self._max_frame = value
            elif setting == frames.ENABLE_PUSH and value > 1:
                raise ProtocolError(f"ENABLE_PUSH of {value}")
        if window != self._stream_window:
            self._widen(window)
        self._acknowledge(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))

    def _ping(self, flags: int, stream: int, payload: bytes) -> None:
        self._spend()
        if stream:
            raise ProtocolError(f"PING on stream {stream}")
        if len(payload) != 8:
            raise ProtocolError(f"PING with {len(payload)} bytes", frames.FRAME_SIZE_ERROR)
        if not flags & frames.ACK:
            self._acknowledge(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _acknowledge(self, frame: bytes) -> None:
        self._check_unread()
        self._out.append(frame)

    def _priority(self, _flags: int, stream: int, payload: bytes) -> None:
        self._spend()
        if len(payload) != 5:
            raise ProtocolError(f"PRIORITY with {len(payload)} bytes", frames.FRAME_SIZE_ERROR)
        self._check_priority(stream, payload)

    def _check_priority(self, stream: int, payload: bytes) -> None:
        if not stream or frames.number(payload[:4]) == stream:
            raise ProtocolError(f"stream {stream} depends on itself")

    def _goaway(self, _flags: int, stream: int, _payload: bytes) -> None:
        self._spend()
        if stream:
            raise ProtocolError(f"GOAWAY on stream {stream}")

    def _unasked(self, _flags: int, stream: int, _payload: bytes) -> None:
        raise ProtocolError(f"a promise on stream {stream}")


_HANDLERS: dict[int, Callable[[Incoming, int, int, bytes], None]] = {
    frames.DATA: Incoming._data,
    frames.HEADERS: Incoming._headers,
    frames.PRIORITY: Incoming._priority,
    frames.RST_STREAM: Incoming._reset,
    frames.SETTINGS: Incoming._settings,
    frames.PUSH_PROMISE: Incoming._unasked,
    frames.PING: Incoming._ping,
    frames.GOAWAY: Incoming._goaway,
    frames.WINDOW_UPDATE: Incoming._window_update,
    frames.CONTINUATION: Incoming._continued,
}
