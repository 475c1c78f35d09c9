"""How a client can take the server from the others, the bound on each way, and what the client gets.

    opens connections and does not use them     MAX_CONNECTIONS, PREFACE_TIMEOUT_S: the longest unused is closed
    is gone without a word                      KEEPALIVE_...: its connection ends
    makes many calls at the same time           MAX_STREAMS, REFUSED_STREAM; half of what is free (Pool)
    sends much data in them                     half of what is free (Pool), RESOURCE_EXHAUSTED
    begins requests and does not go on          STALL_TIMEOUT_S, DEADLINE_EXCEEDED
    does not read its answers                   MAX_UNREAD_BYTES: further calls of it wait
    reads nothing at all                        STALL_TIMEOUT_S, MAX_UNREAD_CONTROL_BYTES, ENHANCE_YOUR_CALM
    sends SETTINGS, PING, WINDOW_UPDATE,        CONTROL_FRAMES, CONTROL_FRAMES_PER_S, ENHANCE_YOUR_CALM
        PRIORITY, resets, empty or unknown
        frames, or calls that cannot be
    sends header blocks long or without an end  MAX_HEADERS_BYTES, ENHANCE_YOUR_CALM
    has more frames than others                 FRAMES_PER_TURN: they wait while the others' are read

No frame costs more than its bytes: windows are counted from one base, so that SETTINGS need not touch each call, and
what waits for a window is looked at when that window opens.
"""

from tensor_serving.embedded.transport.frames import ENHANCE_YOUR_CALM, ProtocolError

MAX_CONNECTIONS = 1000
"""Fewer than the calls the server takes: when all of them are held by calls that stall, some are left."""
PREFACE_TIMEOUT_S = 20.0

KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 60, 10, 3
"""The kernel's probes (TCP keepalive): they need no answer of a client that does not run between its calls."""

MAX_STREAMS = 256
"""Calls of one connection; gRPC's clients keep further ones back until one ends. As common servers have it."""
REQUEST_MESSAGES = 8
"""Of the largest size, in all requests together."""
ANSWER_MESSAGES = 8
"""Of the largest size, in all answers that wait for their clients."""

MAX_UNREAD_BYTES = 32 << 20
"""Of answers of one connection, those that wait and those that are being worked out: less than 64 MB a client."""
EXPECTED_BYTES = 1 << 20
"""What an answer is taken for before the first is known."""
MAX_UNREAD_CONTROL_BYTES = 1 << 20
"""Of acknowledgements and refusals."""

STALL_TIMEOUT_S = 30.0
"""Without progress; a live client on a poor line gets packets through in less."""
MIN_PROGRESS_BYTES = 64 * 1024
"""In that time; fewer are no progress."""

CONTROL_FRAMES = 1000
"""At once: a client that cancels all its calls does no harm. 1,000 of the dearest cost some 50 ms, in turns."""
CONTROL_FRAMES_PER_S = 100
CONTROL_FRAMES_PER_CALL = 16
"""For an answer read: gRPC's clients send a ping and a few window updates around each,"""
BYTES_PER_CONTROL_FRAME = 256
"""and for as many bytes of a long one. A DATA frame of fewer is one of them, too, unless it is the last."""
SETTINGS_COST = 10
"""Control frames that one SETTINGS frame counts as: the windows of all waiting calls are looked at anew."""
MAX_SETTINGS = 32
"""In one frame; RFC 9113 defines six."""

MAX_HEADERS_BYTES = 16 * 1024
"""Packed and unpacked; gRPC's own hard limit. Packed text costs up to 1 us a byte."""
FRAMES_PER_TURN = 128
"""Of one connection before the others' are read; 1 to 5 ms."""
ENDED_CALL_COST = 8
"""Frames of its turn that a call counts as which the client cancels, or which cannot be: it was made for nothing."""
HEADERS_BYTES_PER_FRAME = 128
"""Of a header block, that count as one frame more."""
FLOOD_S = 1.0
"""A connection that had more than a turn's frames is read in turns for so long."""

CHECK_INTERVAL_S = 1.0
CLOSE_TIMEOUT_S = 1.0
"""In which a client that broke the rules can read why."""


class FloodBudget:
    """What one client may still send before others are read, and before it is cut off.

    turn: frames of this turn. Frames that bring nothing of a call are spent from a second amount, which is filled up
    again by answers that the client reads, and by time.
    """

    def __init__(self) -> None:
        self.turn = 0
        self._control = CONTROL_FRAMES

    def spend(self, count: int = 1) -> None:
        """Count frames beside calls. Raises ProtocolError for one too many."""
        self._control -= count
        if self._control < 0:
            raise ProtocolError("too many frames beside calls", ENHANCE_YOUR_CALM)

    def earn(self, count: int) -> None:
        """Allow so many more, for what the client reads."""
        self._control += count

    def refill(self) -> None:
        """Allow a second's worth more, up to what a new client has."""
        self._control = min(CONTROL_FRAMES, self._control + CONTROL_FRAMES_PER_S)


class Pool:
    """An amount that all connections share: calls, or bytes.

    One may have as much as is still free: half of it alone, a third each of two, and a new one finds memory beside any
    number of them (Choudhury and Hahne, Dynamic Queue Length Thresholds, 1998).
    """

    def __init__(self, size: int) -> None:
        self.size, self.used = size, 0

    def fits(self, own: int, more: int) -> bool:
        """Whether a connection that has `own` of it may have `more`."""
        return own + more <= self.size - self.used
