"""Sends over an HTTP/2 connection: within the peer's windows and frame size, and before the deadline.

Also handles control frames of the peer: SETTINGS, PING and WINDOW_UPDATE.
"""

import socket
import time
from contextlib import suppress

from tensor_rest.backend import frames
from tensor_rest.backend.frames import Kind, ProtocolError, Setting

_UPDATE_BYTES = 16 << 20  # bytes received, after which a WINDOW_UPDATE lets the peer send as many again


class FrameSender:
    """Writes to the socket of one connection, and keeps the peer's windows.

    stream: id of the current call's stream. deadline: an instant of `time.monotonic` at which all sending ends.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self.stream = -1
        self.deadline = 0.0
        self._window = frames.WINDOW  # bytes the peer takes on the connection,
        self._stream_window = 0  # on the stream of the call,
        self._initial_window = frames.WINDOW  # on a new stream,
        self._max_frame = frames.FRAME  # and in a frame
        self._taken = 0  # bytes received since the last WINDOW_UPDATE
        self._control_frames = frames.CONTROL_FRAMES  # that the peer may still send, in this call

    def begin_call(self, deadline: float, size: int) -> None:
        """Open the next stream, for a request message of `size` bytes."""
        self.deadline = deadline
        self.stream += 2
        self._stream_window = self._initial_window
        self._control_frames = frames.CONTROL_FRAMES + size // frames.CONTROL_FRAME_BYTES

    @property
    def room(self) -> int:
        """Bytes of the call's data that the peer takes now."""
        return min(self._window, self._stream_window)

    def send_whole(self, begin: bytes, body: bytes) -> bool:
        """Send a header block and the whole body at once, if it fits into the windows and one frame."""
        if len(body) > min(self._window, self._stream_window, self._max_frame):
            return False
        self._window -= len(body)
        self.send(begin + frames.frame(Kind.DATA, frames.END_STREAM, self.stream, body))
        return True

    def send_data(self, piece: memoryview, last: bool) -> None:
        """Send a piece of the body, of at most `room` bytes."""
        self._window -= len(piece)
        self._stream_window -= len(piece)
        parts: list[bytes | memoryview] = []
        while piece:
            part, piece = piece[: self._max_frame], piece[self._max_frame :]
            flags = frames.END_STREAM if last and not piece else 0
            parts += (frames.head(len(part), Kind.DATA, flags, self.stream), part)
        self.send(b"".join(parts))

    def send(self, data: bytes) -> None:
        """Send frames before the deadline. Raises OSError."""
        self._socket.settimeout(self.time_left())
        if (sent := self._socket.send(data)) < len(data):
            self._socket.sendall(data[sent:])

    def count_control(self, size: int) -> None:
        """Count a frame of `size` bytes without data of an answer. Raises ProtocolError if there are too many."""
        self._control_frames -= 1 + size // frames.CONTROL_FRAME_BYTES
        if self._control_frames < 0:
            raise ProtocolError("too many control frames", frames.ENHANCE_YOUR_CALM)

    def send_goaway(self, code: int) -> None:
        """Send the peer the reason for the end of the connection, if it can be sent at once."""
        with suppress(OSError):
            self._socket.settimeout(0)
            self._socket.send(frames.frame(Kind.GOAWAY, 0, 0, bytes(4) + code.to_bytes(4, "big")))

    def time_left(self) -> float:
        """Seconds until the deadline. Raises TimeoutError."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("out of time")
        return left

    def took(self, size: int) -> None:
        """Count received data; from `_UPDATE_BYTES`, send a WINDOW_UPDATE, so that the peer may send as much again."""
        self._taken += size
        if self._taken >= _UPDATE_BYTES:
            self.send(frames.frame(Kind.WINDOW_UPDATE, 0, 0, self._taken.to_bytes(4, "big")))
            self._taken = 0

    # ---- frames that are answered, or change the windows

    def on_settings(self, flags: int, _: int, payload: bytes) -> None:
        """Follow the peer's settings, and acknowledge them. Raises ProtocolError."""
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
                self._max_frame = value
        self.send(frames.frame(Kind.SETTINGS, frames.ACK, 0, b""))

    def on_ping(self, flags: int, _: int, payload: bytes) -> None:
        """Answer a ping. Raises ProtocolError."""
        if len(payload) != 8:
            raise ProtocolError(f"PING with {len(payload)} bytes")
        if not flags & frames.ACK:
            self.send(frames.frame(Kind.PING, frames.ACK, 0, payload))

    def on_window_update(self, _: int, stream: int, payload: bytes) -> None:
        """Widen a window. Raises ProtocolError."""
        more = frames.number(payload, "WINDOW_UPDATE") & frames.WIDEST_WINDOW
        if not stream:
            self._window += more
        elif stream == self.stream:
            self._stream_window += more
        if not more or max(self._window, self._stream_window) > frames.WIDEST_WINDOW:
            raise ProtocolError(f"a window of {self._window} bytes, {more} more")
