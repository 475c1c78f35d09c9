"""How a client can deny service to the others, the bound for each case, and what the client gets.

    opens connections and does not use them     MAX_CONNECTIONS, PREFACE_TIMEOUT_S: the longest unused is closed
    disappears without closing                  KEEPALIVE_...: its connection ends
    makes many calls at the same time           MAX_STREAMS, REFUSED_STREAM; half of what is free (Pool)
    sends much data in them                     half of what is free (Pool), RESOURCE_EXHAUSTED
    begins requests and does not end them       STALL_TIMEOUT_S, DEADLINE_EXCEEDED
    does not read its answers                   MAX_UNREAD_BYTES: its further calls wait
    reads nothing at all                        STALL_TIMEOUT_S, MAX_UNREAD_CONTROL_BYTES, ENHANCE_YOUR_CALM
    sends SETTINGS, PING, WINDOW_UPDATE,        CONTROL_FRAMES, CONTROL_FRAMES_PER_S, ENHANCE_YOUR_CALM
        PRIORITY, resets, empty or unknown
        frames, or invalid calls
    sends long or endless header blocks         MAX_HEADERS_BYTES, ENHANCE_YOUR_CALM
    sends more frames than others               FRAMES_PER_TURN: they wait while the others' are read

The cost of a frame is bounded by its size: calls' windows are relative to one base, so that SETTINGS need not change
each call, and an answer that waits for a window is only processed when that window opens.
"""

from tensor_serving.embedded.transport.frames import ENHANCE_YOUR_CALM, ProtocolError

MAX_CONNECTIONS = 1000
"""Fewer than the calls that the server accepts, so that one stalled call on each connection leaves some free."""
PREFACE_TIMEOUT_S = 20.0

KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 60, 10, 3
"""TCP keepalive probes: the client's kernel answers them, so its process need not run between its calls."""

MAX_STREAMS = 256
"""Calls of one connection, as in common servers; gRPC's clients hold further ones back until one ends."""
REQUEST_MESSAGES = 8
"""Messages of the largest size that all requests together may occupy."""
ANSWER_MESSAGES = 8
"""Messages of the largest size that all answers waiting for their clients may occupy."""

MAX_UNREAD_BYTES = 32 << 20
"""Bytes of one connection's unread answers and of those being computed; beyond them its further calls wait. An answer
that would exceed twice this amount is refused."""
EXPECTED_BYTES = 1 << 20
"""The assumed size of an answer before the first is known."""
MAX_UNREAD_CONTROL_BYTES = 1 << 20
"""Bytes of unread acknowledgements and refusals, beyond which the connection is ended."""

STALL_TIMEOUT_S = 30.0
"""Without progress, after which a call or connection is ended; a live client on a slow line makes progress sooner."""
MIN_PROGRESS_BYTES = 64 * 1024
"""Bytes in STALL_TIMEOUT_S that count as progress."""

CONTROL_FRAMES = 1000
"""Allowed at once, so that a client may cancel all its calls. 1,000 of the most expensive ones cost some 50 ms, spread
over turns."""
CONTROL_FRAMES_PER_S = 100
CONTROL_FRAMES_PER_CALL = 16
"""Allowed in addition for each answered call: gRPC's clients send a ping and a few window updates with each answer."""
BYTES_PER_CONTROL_FRAME = 256
"""Bytes of a buffered answer that allow one more control frame when they are sent. A DATA frame from the client that is
smaller counts as a control frame, unless it is the last of a request."""
SETTINGS_COST = 10
"""Control frames that one SETTINGS frame counts as, because all waiting calls are checked again."""
MAX_SETTINGS = 32
"""Settings in one SETTINGS frame; RFC 9113 defines six."""

MAX_HEADERS_BYTES = 16 * 1024
"""Of a header block, compressed and decompressed; gRPC's own hard limit. Huffman-coded text costs up to 1 us a byte."""
FRAMES_PER_TURN = 128
"""Frames of one connection that are handled before those of the others; they take 1 to 5 ms."""
ENDED_CALL_COST = 8
"""Frames of the turn that a cancelled or refused call counts as, for the work in vain."""
HEADERS_BYTES_PER_FRAME = 128
"""Bytes of a header block that count as one more frame."""
FLOOD_S = 1.0
"""Seconds for which a connection that sent more frames than a turn allows is read in turns."""

CHECK_INTERVAL_S = 1.0
CLOSE_TIMEOUT_S = 1.0
"""Seconds for which a client that violated HTTP/2 can still read the reason."""


class FloodBudget:
    """How much one client may still send before others are read, and before it is disconnected.

    turn: frames left in this turn. Control frames, which carry no part of a call, are spent from a second amount, which
    is refilled by answers that the client reads, and over time.
    """

    def __init__(self) -> None:
        self.turn = 0
        self._control = CONTROL_FRAMES

    def spend(self, count: int = 1) -> None:
        """Count control frames. Raises ProtocolError when there are too many."""
        self._control -= count
        if self._control < 0:
            raise ProtocolError("too many control frames", ENHANCE_YOUR_CALM)

    def earn(self, count: int) -> None:
        """Allow `count` more, for what the client has read."""
        self._control += count

    def refill(self) -> None:
        """Allow a second's worth more, up to what a new client has."""
        self._control = min(CONTROL_FRAMES, self._control + CONTROL_FRAMES_PER_S)


class Pool:
    """An amount that all connections share: calls, or bytes.

    One connection may have as much as is still free: one alone gets half, two get a third each, and with any number of
    them some is left for a new one (Choudhury and Hahne, Dynamic Queue Length Thresholds, 1998).
    """

    def __init__(self, size: int) -> None:
        self.size, self.used = size, 0

    def fits(self, own: int, more: int) -> bool:
        """Whether a connection that has `own` of it may have `more`."""
        return own + more <= self.size - self.used
