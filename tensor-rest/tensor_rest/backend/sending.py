"""What goes out over an HTTP/2 connection: within the peer's windows and frames, and before the deadline.

And what comes in beside answers, as far as it is answered or counted.
"""

import socket
import time
from contextlib import suppress

from tensor_rest.backend import frames
from tensor_rest.backend.frames import Kind, ProtocolError, Setting

_GIVE_BACK = 16 << 20  # bytes taken, after which the peer may send as many again


class Sender:
    """The half of a connection that writes, and knows what the peer takes."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._stream = -1
        self._window = frames.WINDOW  # bytes the peer takes on the connection,
        self._stream_window = 0  # on the stream of the call,
        self._initial_window = frames.WINDOW  # on a new stream,
        self._most_frame = frames.FRAME  # and in a frame
        self._taken = 0  # bytes of its data that it does not know yet to be taken
        self._deadline = 0.0
        self._control_frames = frames.CONTROL_FRAMES  # that the peer may still send, in this call

    def _send_data(self, piece: memoryview, last: bool) -> None:
        parts: list[bytes | memoryview] = []
        while piece:
            part, piece = piece[: self._most_frame], piece[self._most_frame :]
            flags = frames.END_STREAM if last and not piece else 0
            parts += (frames.head(len(part), Kind.DATA, flags, self._stream), part)
        self._send(b"".join(parts))

    def _send(self, data: bytes) -> None:
        self._socket.settimeout(self._left())
        if (sent := self._socket.send(data)) < len(data):
            self._socket.sendall(data[sent:])

    def _count_control(self, size: int) -> None:
        """Count a frame of `size` bytes that brings nothing of an answer. Raises ProtocolError for one too many."""
        self._control_frames -= 1 + size // frames.CONTROL_FRAME_BYTES
        if self._control_frames < 0:
            raise ProtocolError("too many frames beside the answer", frames.ENHANCE_YOUR_CALM)

    def _send_goaway(self, code: int) -> None:
        """Tell the peer why the connection ends, if it takes that at once."""
        with suppress(OSError):
            self._socket.settimeout(0)
            self._socket.send(frames.frame(Kind.GOAWAY, 0, 0, bytes(4) + code.to_bytes(4, "big")))

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("out of time")
        return left

    def _took(self, size: int) -> None:
        """Let the peer send as much again, once it is worth a frame."""
        self._taken += size
        if self._taken >= _GIVE_BACK:
            self._send(frames.frame(Kind.WINDOW_UPDATE, 0, 0, self._taken.to_bytes(4, "big")))
            self._taken = 0

    def _settings(self, flags: int, _: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        for setting, value in frames.read_settings(payload):
            if setting == Setting.INITIAL_WINDOW_SIZE:
                if value > frames.WIDEST_WINDOW:
                    raise ProtocolError(f"a window of {value} bytes")
                self._stream_window += value - self._initial_window
                self._initial_window = value
            elif setting == Setting.MAX_FRAME_SIZE:
                if not frames.FRAME <= value < 1 << 24:
                    raise ProtocolError(f"frames of {value} bytes")
                self._most_frame = value
        self._send(frames.frame(Kind.SETTINGS, frames.ACK, 0, b""))

    def _ping(self, flags: int, _: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise ProtocolError(f"PING with {len(payload)} bytes")
        if not flags & frames.ACK:
            self._send(frames.frame(Kind.PING, frames.ACK, 0, payload))

    def _window_update(self, _: int, stream: int, payload: bytes) -> None:
        more = frames.number(payload, "WINDOW_UPDATE") & frames.WIDEST_WINDOW
        if not stream:
            self._window += more
        elif stream == self._stream:
            self._stream_window += more
        if not more or max(self._window, self._stream_window) > frames.WIDEST_WINDOW:
            raise ProtocolError(f"a window of {self._window} bytes, {more} more")
