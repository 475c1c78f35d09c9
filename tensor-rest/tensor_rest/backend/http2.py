"""One HTTP/2 connection over a blocking socket, which makes one gRPC call at a time in its caller's thread.

Between calls no thread reads. What the peer sends meanwhile is read before the next call (`ready`).
"""

import socket
import ssl
import time
import weakref
from collections.abc import Callable

from tensor_rest.backend import frames
from tensor_rest.backend.answer import PREFIX, Answer, reset
from tensor_rest.backend.frames import Kind, ProtocolError, Setting
from tensor_rest.backend.sending import FrameSender
from tensor_rest.backend.status import Code, RpcError

_CHUNK = 1 << 15  # bytes read at once, and sent at once of a large request; more would cost malloc a mapping each time
_LOOKS = 16  # reads of what an idle connection has received; if there is more, it is closed
_LOOK_SECONDS = 0.1  # to answer a ping that arrived meanwhile
_FRESH_SECONDS = 0.02  # after a call, in which `ready` reads nothing
_MAX_KNOWN = 64  # pairs of header blocks that are recognised by their bytes

_OPENING = (
    frames.PREFACE
    + frames.settings(
        {
            Setting.HEADER_TABLE_SIZE: 0,
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: frames.WIDEST_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: frames.HEADERS_BYTES,
        }
    )
    + frames.frame(Kind.WINDOW_UPDATE, 0, 0, (frames.WIDEST_WINDOW - frames.WINDOW).to_bytes(4, "big"))
)


class LostError(RpcError):
    """UNAVAILABLE: the connection ended amid a call; `begun`: the whole request was sent, or the answer had begun."""

    def __init__(self, details: str, *, begun: bool = False) -> None:
        super().__init__(Code.UNAVAILABLE, details)
        self.begun = begun


class Connection:
    """HTTP/2 over a connected socket, which it owns; messages have at most `most` bytes.

    A call that fails raises RpcError; unless its answer was complete, the connection is then not
    `idle` and cannot be used again. Deadlines are instants of `time.monotonic`.
    """

    def __init__(self, connected: socket.socket, most: int) -> None:
        self._socket, self._sender = connected, FrameSender(connected)
        self._most = most
        self._got, self._at = b"", 0  # read from the socket, and how much of that is used
        self._answer: Answer | None = None  # of the call under way
        self._fresh = 0.0  # until then `ready` reads nothing
        self._blocks: list[bytes] = []  # the last header blocks of the call under way
        self._known: set[tuple[bytes, ...]] = set()  # those of earlier calls that were answered well
        self.idle, self._shutting_down = True, False  # no call is unfinished; the peer accepts no more calls
        weakref.finalize(self, connected.close).atexit = False  # where its channel is dropped without `close`

    def start(self, deadline: float) -> None:
        """Exchange SETTINGS with the peer: this shows that it answers, and what it accepts."""
        self._sender.deadline = deadline
        try:
            self._sender.send(_OPENING)
            kind, flags, stream, payload = self._frame()
            if kind != Kind.SETTINGS or flags & frames.ACK or stream:
                raise ProtocolError("its first frame is not SETTINGS")
            self._sender.on_settings(flags, stream, payload)
        except (ProtocolError, OSError) as error:
            raise RpcError(Code.UNAVAILABLE, f"no HTTP/2 connection: {error}") from error

    def ready(self) -> bool:
        """Read what has arrived since the last call, and return whether the connection can be used for another one.

        Right after a call nothing is read: if the connection is lost since then, the next call notices.
        """
        now = time.monotonic()
        if now < self._fresh and not self._shutting_down:
            return self._sender.stream < frames.LAST_STREAM - 2
        self._sender.deadline = now + _LOOK_SECONDS
        try:
            for _ in range(_LOOKS):
                if not self._look():
                    return self.idle and not self._shutting_down and self._sender.stream < frames.LAST_STREAM - 2
        except (ProtocolError, OSError):
            pass
        return False

    def call(self, fields: bytes, message: bytes, deadline: float) -> bytes:
        """Return the answer to `message`; `fields` is the header block. Raises LostError if the connection ends."""
        self._sender.begin_call(deadline, len(message))
        answer = self._answer = Answer(self._most)
        self._blocks.clear()
        self.idle = whole = False
        try:
            whole = self._send_request(fields, message, answer)
            if whole and (usual := self._usual()) is not None:
                return usual
            while not answer.ended:
                self._step()
            self.idle = whole and not self._shutting_down
            found = answer.message()
            if len(self._known) < _MAX_KNOWN and len(self._blocks) == 2:
                self._known.add(tuple(self._blocks))
            return found
        except ProtocolError as error:
            self._sender.send_goaway(error.code)
            raise RpcError(Code.UNAVAILABLE, f"the server violated HTTP/2: {error}") from error
        except OSError as error:
            if time.monotonic() >= deadline:
                raise RpcError(Code.DEADLINE_EXCEEDED, "no answer in time") from error
            amid = " amid the answer" if answer.begun else ""
            raise LostError(f"the connection was lost{amid}: {error}", begun=whole or answer.begun) from error

    def close(self) -> None:
        """Close the connection; this cancels a call that the peer still works on."""
        self.idle = False
        self._socket.close()

    def _usual(self) -> bytes | None:
        """Return the message of a usual answer at once: three frames, whose header blocks are known.

        None for any other answer, of which nothing is consumed.
        """
        if self._at == len(self._got):
            self._socket.settimeout(self._sender.time_left())
            self._fill()
        got, at = self._got, self._at
        ends: list[tuple[int, int]] = []
        for expected in _USUAL:
            start = at + frames.FRAME_HEAD
            if len(got) < start:
                return None
            size, *found = frames.read_head(got, at)
            at = start + size
            if found != [*expected, self._sender.stream] or len(got) < at:
                return None
            ends.append((start, at))
        (opening, message, trailers) = (got[start:end] for start, end in ends)
        size = len(message) - PREFIX
        if (opening, trailers) not in self._known or not 0 <= size <= self._most or at != len(got):
            return None
        if message[:PREFIX] != b"\0" + size.to_bytes(4, "big"):
            return None
        self._at = at
        self._sender.took(len(message))
        self.idle, self._answer = True, None
        self._fresh = time.monotonic() + _FRESH_SECONDS
        return message[PREFIX:]

    # ---- out

    def _send_request(self, fields: bytes, message: bytes, answer: Answer) -> bool:
        """Send the request; False if the answer was complete before all was sent."""
        begin = frames.frame(Kind.HEADERS, frames.END_HEADERS, self._sender.stream, fields)
        body = b"\0" + len(message).to_bytes(4, "big") + message
        if self._sender.send_whole(begin, body):
            return True
        self._sender.send(begin)
        rest = memoryview(body)
        while rest:
            room = min(self._sender.room, _CHUNK)
            if room <= 0:
                self._step()
                if answer.ended:
                    return False
                continue
            self._sender.send_data(rest[:room], last=room >= len(rest))
            rest = rest[room:]
        return True

    # ---- in

    def _step(self) -> None:
        self._do(*self._frame())

    def _do(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind != Kind.DATA:
            self._sender.count_control(len(payload))
        if handler := _HANDLERS.get(kind):  # others are to be ignored
            handler(self, flags, stream, payload)

    def _frame(self) -> tuple[int, int, int, bytes]:
        """Type, flags, stream and payload of the next frame."""
        while (found := self._parsed()) is None:
            self._socket.settimeout(self._sender.time_left())
            self._fill()
        return found

    def _parsed(self) -> tuple[int, int, int, bytes] | None:
        start = self._at + frames.FRAME_HEAD
        if len(self._got) < start:
            return None
        size, kind, flags, stream = frames.read_head(self._got, self._at)
        if size > frames.FRAME:
            raise ProtocolError(f"a frame of {size} bytes, at most {frames.FRAME} were allowed")
        if len(self._got) < start + size:
            return None
        self._at = start + size
        return kind, flags, stream, self._got[start : self._at]

    def _fill(self) -> None:
        got = self._socket.recv(_CHUNK)
        if not got:
            raise ConnectionResetError("the server closed it")
        self._got = self._got[self._at :] + got
        self._at = 0

    def _look(self) -> bool:
        """Handle the frames received, then read without waiting; False if there was nothing to read."""
        while found := self._parsed():
            self._do(*found)
        self._socket.settimeout(0)
        try:
            self._fill()
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        return True

    # ---- frames by type

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        self._sender.took(len(payload))
        content = frames.unpadded(flags, payload)
        if len(content) < frames.CONTROL_FRAME_BYTES:
            self._sender.count_control(len(payload))
        self._mine(stream).add_data(content, bool(flags & frames.END_STREAM))

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        block = frames.unpadded(flags, payload)
        if flags & frames.PRIORITY:
            block = block[5:]
        if not flags & frames.END_HEADERS:
            block = self._continued(stream, block)
        self._blocks = [*self._blocks[-1:], block]  # a usual answer has two
        self._mine(stream).add_fields(frames.fields(block), bool(flags & frames.END_STREAM))

    def _continued(self, stream: int, block: bytes) -> bytes:
        parts, size = [block], len(block)
        while True:
            kind, flags, of, payload = self._frame()
            if kind != Kind.CONTINUATION or of != stream:
                raise ProtocolError("a header block that is not continued")
            parts.append(payload)
            size += frames.FRAME_HEAD + len(payload)  # empty ones cost, too
            if size > frames.HEADERS_BYTES:
                raise ProtocolError(f"a header block of more than {frames.HEADERS_BYTES} bytes")
            if flags & frames.END_HEADERS:
                return b"".join(parts)

    def _mine(self, stream: int) -> Answer:
        """Return the answer of the call in flight. Raises ProtocolError for any other stream."""
        if stream != self._sender.stream or self._answer is None or self._answer.ended:
            raise ProtocolError(f"a frame on stream {stream}, which has no call in flight")
        return self._answer

    def _reset(self, _: int, stream: int, payload: bytes) -> None:
        code = frames.number(payload, "RST_STREAM")
        if stream != self._sender.stream or self._answer is None or self._answer.ended:
            return  # of a call that is over
        if code == frames.CANCEL and time.monotonic() >= self._sender.deadline:
            raise RpcError(Code.DEADLINE_EXCEEDED, "the server cancelled the call at its deadline")
        raise reset(code)

    def _goaway(self, _: int, _stream: int, payload: bytes) -> None:
        """The peer accepts no more calls. Streams after the last that it names were not begun; others are answered."""
        self._shutting_down = True
        if not self.idle and self._sender.stream > frames.number(payload[:4], "GOAWAY") & frames.WIDEST_WINDOW:
            raise LostError(f"the server shuts down, and did not begin the call {payload[8:200]!r}")

    def _on_unexpected(self, _: int, stream: int, _payload: bytes) -> None:
        raise ProtocolError(f"an unexpected PUSH_PROMISE or CONTINUATION on stream {stream}")


_USUAL = (
    [Kind.HEADERS, frames.END_HEADERS],
    [Kind.DATA, 0],
    [Kind.HEADERS, frames.END_HEADERS | frames.END_STREAM],
)
_HANDLERS: dict[int, Callable[[Connection, int, int, bytes], None]] = {
    Kind.DATA: Connection._data,
    Kind.HEADERS: Connection._headers,
    Kind.RST_STREAM: Connection._reset,
    Kind.SETTINGS: lambda connection, *frame: connection._sender.on_settings(*frame),
    Kind.PUSH_PROMISE: Connection._on_unexpected,
    Kind.PING: lambda connection, *frame: connection._sender.on_ping(*frame),
    Kind.GOAWAY: Connection._goaway,
    Kind.WINDOW_UPDATE: lambda connection, *frame: connection._sender.on_window_update(*frame),
    Kind.CONTINUATION: Connection._on_unexpected,
}
