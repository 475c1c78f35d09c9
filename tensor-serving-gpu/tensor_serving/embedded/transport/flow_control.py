"""Sending the answers of one connection within the client's flow-control windows (RFC 9113, 5.2)."""

from collections import OrderedDict
from collections.abc import Callable, Iterable

import grpc

from tensor_serving.embedded.transport import frames, limits
from tensor_serving.embedded.transport.call import Call, Status
from tensor_serving.embedded.transport.frame_writer import FrameWriter
from tensor_serving.embedded.transport.frames import ProtocolError
from tensor_serving.embedded.transport.limits import FloodBudget, Pool


class FlowControl:
    """Sends answers, or buffers them until a window opens.

    Args:
        writer: Writes the frames.
        budget: Allows the client further frames for each answer that it reads.
        pool: Bytes of buffered answers, of all connections.
        on_end: Called with each call whose status is sent.
        on_flush: Called whenever buffered answers may have been sent.
    """

    def __init__(
        self,
        writer: FrameWriter,
        budget: FloodBudget,
        pool: Pool,
        on_end: Callable[[Call], None],
        on_flush: Callable[[], None],
    ) -> None:
        self._writer, self._budget, self._pool = writer, budget, pool
        self._on_end, self._on_flush = on_end, on_flush
        self._window = frames.WINDOW  # bytes the client accepts on the connection
        self._stream_window = frames.WINDOW  # bytes it accepts of a new call; calls' windows are relative to it
        self.max_frame = frames.MIN_MAX_FRAME  # bytes it accepts in a frame
        self._unsent: dict[int, Call] = {}  # calls whose answer waits for a window
        self._ready: OrderedDict[int, Call] = OrderedDict()  # those of them whose own window is open
        self.unread = 0  # bytes of the waiting answers

    @property
    def waits(self) -> bool:
        """Whether answers wait for a window."""
        return bool(self._unsent)

    @property
    def is_ready(self) -> bool:
        """Whether some of the waiting answers may be sent now."""
        return bool(self._ready)

    def send(self, call: Call, body: bytes, status: Status | None) -> None:
        """Send a part of an answer, and the status after the last part; what the windows do not allow is buffered."""
        if not body and not call.answer:
            if status:
                self._finish(call, status)
            return
        fits = len(body) <= min(self._window, call.window + self._stream_window, self.max_frame)
        if call.answer or self._writer.blocked or not fits:
            self._keep(call, body, status)
            return
        if not call.opened:
            self._open(call)
        self._window -= len(body)
        call.window -= len(body)
        self._writer.add(frames.frame(frames.DATA, 0, call.stream, body))
        if status:
            self._finish(call, status)

    def flush(self) -> None:
        """Send as much of the buffered answers as the client accepts, call after call."""
        while self._ready and not self._writer.blocked and self._window > 0 and not self._writer.is_closing:
            stream, call = next(iter(self._ready.items()))
            allowed = min(self._window, call.window + self._stream_window, self.max_frame)
            if allowed <= 0:
                del self._ready[stream]
                continue
            piece = bytes(memoryview(call.answer)[:allowed])
            del call.answer[:allowed]
            self._count_unread(-len(piece))
            self._window -= len(piece)
            call.window -= len(piece)
            self._budget.earn(len(piece) // limits.BYTES_PER_CONTROL_FRAME)
            self._writer.add(frames.frame(frames.DATA, 0, stream, piece))
            self._writer.write()
            if not call.answer:
                del self._unsent[stream], self._ready[stream]
                if call.waits and not call.waits.done():
                    call.waits.set_result(None)
                if call.status:
                    self._finish(call, call.status)
        self._on_flush()

    def close(self) -> None:
        """Drop the callbacks, which form a reference cycle: the connection is freed without the garbage collector."""
        self._on_end = self._on_flush = _nothing

    def drop(self, call: Call) -> None:
        """Drop the unsent part of an answer."""
        self._count_unread(-len(call.answer))
        call.answer.clear()
        self._unsent.pop(call.stream, None)
        self._ready.pop(call.stream, None)

    def widen(self, more: int) -> None:
        """Apply a window update of the connection. Raises ProtocolError if the window becomes too large."""
        self._window += more
        if self._window > frames.MAX_WINDOW:
            raise ProtocolError(f"a window {more} bytes wider", frames.FLOW_CONTROL_ERROR)

    def widen_call(self, call: Call, more: int) -> bool:
        """Apply a window update of a call; return False if the window becomes too large."""
        call.window += more
        if call.window + self._stream_window > frames.MAX_WINDOW:
            return False
        if call.stream in self._unsent:
            self._ready[call.stream] = call
        return True

    def apply_settings(self, values: Iterable[tuple[int, int]], calls: Iterable[Call]) -> None:
        """Apply the client's settings, the numbers and values of one frame, to all calls. Raises ProtocolError."""
        window = self._stream_window
        for number, (setting, value) in enumerate(values):
            if number >= limits.MAX_SETTINGS:
                raise ProtocolError("too many settings in one frame", frames.ENHANCE_YOUR_CALM)
            if setting == frames.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise ProtocolError(f"a window of {value} bytes", frames.FLOW_CONTROL_ERROR)
                window = value
            elif setting == frames.MAX_FRAME_SIZE:
                if not frames.MIN_MAX_FRAME <= value < 1 << 24:
                    raise ProtocolError(f"frames of {value} bytes")
                self.max_frame = value
            elif setting == frames.ENABLE_PUSH and value > 1:
                raise ProtocolError(f"ENABLE_PUSH of {value}")
        if window == self._stream_window:
            return
        widest = max((call.window for call in calls), default=0)
        if max(0, widest) + window > frames.MAX_WINDOW:
            raise ProtocolError(f"a window of {window} bytes", frames.FLOW_CONTROL_ERROR)
        self._stream_window = window
        self._ready.update(self._unsent)

    def _keep(self, call: Call, body: bytes, status: Status | None) -> None:
        size = len(body)
        too_much = self.unread > 0 and self.unread + size > 2 * limits.MAX_UNREAD_BYTES
        if size and (too_much or not self._pool.fits(self.unread, size)):
            self.drop(call)
            text = f"{self.unread} bytes of answers are not read yet; read them, or make fewer calls at a time"
            self._finish(call, (grpc.StatusCode.RESOURCE_EXHAUSTED, text))
            return
        if not call.opened:
            self._open(call)
        call.status = status
        call.answer += body
        self._count_unread(size)
        self._unsent[call.stream] = self._ready[call.stream] = call
        self.flush()

    def _open(self, call: Call) -> None:
        self._writer.add(frames.frame(frames.HEADERS, frames.END_HEADERS, call.stream, call.opening))
        call.opened = True

    def _finish(self, call: Call, status: Status) -> None:
        flags = frames.END_HEADERS | frames.END_STREAM
        self._writer.add(frames.frame(frames.HEADERS, flags, call.stream, call.ending(*status)))
        if call.task:
            self._budget.earn(limits.CONTROL_FRAMES_PER_CALL)
        self._on_end(call)

    def _count_unread(self, size: int) -> None:
        self.unread += size
        self._pool.used += size


def _nothing(*_: object) -> None:
    """The callback of a closed connection."""
