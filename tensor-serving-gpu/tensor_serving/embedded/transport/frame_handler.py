"""Handling a client's frames: the rules of RFC 9113, and passing on their content."""

from collections.abc import Callable

from tensor_serving.embedded.transport import fields, frames, limits
from tensor_serving.embedded.transport.call import Call
from tensor_serving.embedded.transport.calls import Calls
from tensor_serving.embedded.transport.frame_writer import FrameWriter
from tensor_serving.embedded.transport.frames import ProtocolError
from tensor_serving.embedded.transport.limits import FloodBudget

STREAM_WINDOW = 4 << 20  # bytes a client may send of one call before we acknowledge them
CONNECTION_WINDOW = 16 << 20  # the same for all its calls together


class FrameHandler:
    """Handles the frames of one connection in their order."""

    def __init__(self, calls: Calls, writer: FrameWriter, budget: FloodBudget) -> None:
        self._calls, self._writer, self._budget = calls, writer, budget
        self._headers = fields.HeaderDecoder()
        self._block: tuple[int, int, bytearray] | None = None  # stream, flags and bytes of an incomplete header block
        self._taken = 0  # bytes of data, of all calls, that are read but not acknowledged by a window update

    def handle(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Handle one frame. Raises ProtocolError, which ends the connection."""
        if self._block and (kind != frames.CONTINUATION or stream != self._block[0]):
            raise ProtocolError("a header block that is not continued")
        if handler := _HANDLERS.get(kind):
            handler(self, flags, stream, payload)
        else:
            self._budget.spend()  # unknown types are to be ignored

    # ---- calls

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        last = bool(flags & frames.END_STREAM)
        if len(payload) < limits.BYTES_PER_CONTROL_FRAME and not last:
            self._budget.spend()
        call = self._calls.by_stream.get(stream)
        self._give_back(call, len(payload))
        piece = frames.content(flags, payload)
        if call is None:  # the call has ended, perhaps while this frame was on its way
            self._calls.check_begun(stream)
            self._writer.add(frames.reset(stream, frames.STREAM_CLOSED))
        elif call.whole:
            raise ProtocolError("data after the end of a request", frames.STREAM_CLOSED)
        else:
            self._calls.add_data(call, piece, last)

    def _give_back(self, call: Call | None, size: int) -> None:
        """Acknowledge data, by a window update when half of the window is used up."""
        self._taken += size
        if self._taken > CONNECTION_WINDOW // 2:
            self._writer.add(frames.window_update(0, self._taken))
            self._taken = 0
        if call:
            call.taken += size
            if call.taken > STREAM_WINDOW // 2:
                self._writer.add(frames.window_update(call.stream, call.taken))
                call.taken = 0

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> None:
        block = frames.content(flags, payload)
        if flags & frames.WITH_PRIORITY:
            self._check_priority(stream, block[:5])
            block = block[5:]
        if flags & frames.END_HEADERS:
            self._on_header_block(stream, flags, block)
        else:
            self._block = stream, flags, bytearray(block)

    def _on_continuation(self, flags: int, _stream: int, payload: bytes) -> None:
        if not self._block:
            raise ProtocolError("CONTINUATION without a header block")
        stream, first, block = self._block
        block += payload
        if len(block) > limits.MAX_HEADERS_BYTES or not (payload or flags & frames.END_HEADERS):
            raise ProtocolError("a header block without an end", frames.ENHANCE_YOUR_CALM)
        if flags & frames.END_HEADERS:
            self._block = None
            self._on_header_block(stream, first, bytes(block))

    def _on_header_block(self, stream: int, flags: int, block: bytes) -> None:
        if len(block) > limits.MAX_HEADERS_BYTES:
            raise ProtocolError(f"a header block of {len(block)} bytes", frames.ENHANCE_YOUR_CALM)
        self._budget.turn -= len(block) // limits.HEADERS_BYTES_PER_FRAME
        found = self._headers.read(block)  # also for calls that are refused, as blocks may depend on earlier ones
        if stream <= self._calls.last or stream % 2 == 0:
            self._on_trailers(stream, flags, found)
            return
        fields.check_request(found)
        self._writer.check_is_read(self._calls.flow.max_frame)
        self._calls.begin(stream, found, whole=bool(flags & frames.END_STREAM))

    def _on_trailers(self, stream: int, flags: int, found: dict[str, str]) -> None:
        """End the request of a call with its trailers."""
        self._calls.check_begun(stream)
        fields.check_trailers(found)
        call = self._calls.by_stream.get(stream)
        if call is None:  # it ended early, while these were on their way
            self._budget.spend()
            self._writer.add(frames.reset(stream, frames.STREAM_CLOSED))
            return
        if call.whole or not flags & frames.END_STREAM:
            raise ProtocolError("a header block in the middle of a request", frames.STREAM_CLOSED if call.whole else 1)
        self._calls.end_request(call)

    def _on_reset(self, _flags: int, stream: int, payload: bytes) -> None:
        self._budget.spend()
        frames.number(payload)
        self._calls.check_begun(stream)
        if call := self._calls.by_stream.get(stream):
            self._budget.turn -= limits.ENDED_CALL_COST
            self._calls.cancel(call)

    # ---- windows and settings

    def _on_window_update(self, _flags: int, stream: int, payload: bytes) -> None:
        self._budget.spend()
        more = frames.number(payload)
        if not more:
            raise ProtocolError("a window update of 0 bytes")
        if not stream:
            self._calls.flow.widen(more)
        elif call := self._calls.by_stream.get(stream):
            if not self._calls.flow.widen_call(call, more):
                self._writer.add(frames.reset(stream, frames.FLOW_CONTROL_ERROR))
                self._calls.cancel(call)
        else:
            self._calls.check_begun(stream)

    def _on_settings(self, flags: int, stream: int, payload: bytes) -> None:
        self._budget.spend(limits.SETTINGS_COST)
        if stream:
            raise ProtocolError(f"SETTINGS on stream {stream}")
        if flags & frames.ACK:
            if payload:
                raise ProtocolError("an acknowledgement with settings", frames.FRAME_SIZE_ERROR)
            self._headers.on_settings_ack()
            return
        self._calls.flow.apply_settings(frames.read_settings(payload), self._calls.by_stream.values())
        self._acknowledge(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))

    # ---- the rest

    def _on_ping(self, flags: int, stream: int, payload: bytes) -> None:
        self._budget.spend()
        if stream:
            raise ProtocolError(f"PING on stream {stream}")
        if len(payload) != 8:
            raise ProtocolError(f"PING with {len(payload)} bytes", frames.FRAME_SIZE_ERROR)
        if not flags & frames.ACK:
            self._acknowledge(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _acknowledge(self, frame: bytes) -> None:
        self._writer.check_is_read(self._calls.flow.max_frame)
        self._writer.add(frame)

    def _on_priority(self, _flags: int, stream: int, payload: bytes) -> None:
        self._budget.spend()
        if len(payload) != 5:
            raise ProtocolError(f"PRIORITY with {len(payload)} bytes", frames.FRAME_SIZE_ERROR)
        self._check_priority(stream, payload)

    def _check_priority(self, stream: int, payload: bytes) -> None:
        if not stream or frames.number(payload[:4]) == stream:
            raise ProtocolError(f"stream {stream} depends on itself")

    def _on_goaway(self, _flags: int, stream: int, _payload: bytes) -> None:
        self._budget.spend()
        if stream:
            raise ProtocolError(f"GOAWAY on stream {stream}")

    def _on_push_promise(self, _flags: int, stream: int, _payload: bytes) -> None:
        raise ProtocolError(f"PUSH_PROMISE on stream {stream}")


_HANDLERS: dict[int, Callable[[FrameHandler, int, int, bytes], None]] = {
    frames.DATA: FrameHandler._on_data,
    frames.HEADERS: FrameHandler._on_headers,
    frames.PRIORITY: FrameHandler._on_priority,
    frames.RST_STREAM: FrameHandler._on_reset,
    frames.SETTINGS: FrameHandler._on_settings,
    frames.PUSH_PROMISE: FrameHandler._on_push_promise,
    frames.PING: FrameHandler._on_ping,
    frames.GOAWAY: FrameHandler._on_goaway,
    frames.WINDOW_UPDATE: FrameHandler._on_window_update,
    frames.CONTINUATION: FrameHandler._on_continuation,
}
