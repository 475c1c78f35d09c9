"""The frames sent to one client: collected while its frames are read, written at the end of a turn."""

import asyncio

from tensor_serving.embedded.transport import frames, limits
from tensor_serving.embedded.transport.frames import ProtocolError


class FrameWriter:
    """Writes to one transport. `blocked`: the client does not read, and the transport's buffer is full."""

    def __init__(self, now: float) -> None:
        self._transport: asyncio.Transport | None = None
        self._frames: list[bytes] = []
        self._written = 0  # bytes
        self._progress = (0, now)  # bytes the client had read, and when, at the last progress
        self.blocked = False

    def connect(self, transport: asyncio.Transport) -> None:
        """Set the transport to write to."""
        self._transport = transport

    @property
    def buffered(self) -> int:
        """Bytes that the transport has not sent yet."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    @property
    def is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def add(self, frame: bytes) -> None:
        """Add a complete frame for the next `write`."""
        self._frames.append(frame)

    def write(self) -> None:
        """Write all added frames; drop them if the connection is closing."""
        if self._frames and self._transport and not self._transport.is_closing():
            data = b"".join(self._frames)
            self._written += len(data)
            self._transport.write(data)
        self._frames.clear()

    def check_is_read(self, max_frame: int) -> None:
        """Raise ProtocolError if the client sends requests without reading the answers.

        max_frame: bytes of one answer's frame, which may be buffered in addition.
        """
        if self.buffered > limits.MAX_UNREAD_CONTROL_BYTES + max_frame:
            raise ProtocolError("requests sent without reading the answers", frames.ENHANCE_YOUR_CALM)

    def is_stalled(self, now: float, waiting: bool) -> bool:
        """Whether the client reads nothing although data wait for it; to be called every CHECK_INTERVAL_S.

        waiting: whether answers wait in addition to what is buffered.
        """
        buffered = self.buffered
        taken, (before, since) = self._written - buffered, self._progress
        if not (waiting or buffered) or taken - before >= limits.MIN_PROGRESS_BYTES:
            self._progress = taken, now
            return False
        return now - since > limits.STALL_TIMEOUT_S
