"""The frames of one client: calls in, answers out, within what both sides take."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import grpc

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.transport import fields, frames
from tensor_serving.embedded.transport.answers import Answers
from tensor_serving.embedded.transport.call import Call
from tensor_serving.embedded.transport.frames import ProtocolError

if TYPE_CHECKING:
    from tensor_serving.embedded.transport.server import Server

log = logging.getLogger(__name__)

_GREETING_SECONDS = 20.0  # a client gets to say that it speaks HTTP/2
_FRAME = 256 * 1024  # bytes of the largest frame we take: 32 pictures in one
_STREAM_WINDOW = 4 << 20  # bytes a client may send of a call, before we say that we have them,
_WINDOW = 16 << 20  # and of all its calls

_OK = (grpc.StatusCode.OK, "")
_OPENING = frames.settings(
    (frames.HEADER_TABLE_SIZE, 0),
    (frames.INITIAL_WINDOW_SIZE, _STREAM_WINDOW),
    (frames.MAX_FRAME_SIZE, _FRAME),
    (frames.MAX_HEADER_LIST_SIZE, fields.LARGEST),
) + frames.window_update(0, _WINDOW - frames.WINDOW)


class Connection(Answers):
    """Speaks with one client, on the event loop."""

    def __init__(self, server: "Server") -> None:
        super().__init__(server)
        self._got = bytearray()  # of a frame that is not whole
        self._greeted = False
        self._patience: asyncio.TimerHandle | None = None  # with a client that does not greet
        self._reader = fields.Reader()
        self._block: tuple[int, int, bytearray] | None = None  # stream, flags, and a header block that goes on
        self._taken = 0  # bytes of data that the client does not know yet to be taken, of all calls

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.join(self):
            self._transport.abort()
            return
        self._transport.write(_OPENING)
        self._patience = self._loop.call_later(_GREETING_SECONDS, self._transport.abort)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        self._server.leave(self)
        self._stop_waiting()
        for call in list(self._calls.values()):
            self._forget(call, cancel=True)

    def data_received(self, data: bytes) -> None:
        if self._got:
            self._got += data
            used = self._read(self._got)
            del self._got[:used]
        else:
            used = self._read(data)
            if used < len(data):
                self._got += memoryview(data)[used:]
        self._write()

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._flush()
        self._write()

    @property
    def busy(self) -> bool:
        """Whether something is not sent yet."""
        return self._transport.get_write_buffer_size() > 0

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()

    def _stop_waiting(self) -> None:
        if self._patience:
            self._patience.cancel()
            self._patience = None

    # ---- frames in

    def _read(self, data: bytes | bytearray) -> int:
        """Do what the whole frames say, and return how many bytes they were."""
        at = 0
        try:
            if not self._greeted:
                start = data[: len(frames.PREFACE)]
                if not frames.PREFACE.startswith(start):
                    raise ProtocolError("this port speaks HTTP/2")
                if len(start) < len(frames.PREFACE):
                    return 0
                self._greeted, at = True, len(start)
                self._stop_waiting()
            while len(data) - at >= frames.HEAD:
                size, kind, flags, stream = frames.read_head(data, at)
                if size > _FRAME:
                    raise ProtocolError(f"a frame of {size} bytes", frames.FRAME_SIZE_ERROR)
                end = at + frames.HEAD + size
                if end > len(data):
                    break
                payload = bytes(data[at + frames.HEAD : end])
                at = end
                self._do(kind, flags, stream, payload)
        except ProtocolError as error:
            log.debug("a client broke the rules: %s", error)
            self._end(error.code, str(error))
            return len(data)
        return at

    def _do(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block and (kind != frames.CONTINUATION or stream != self._block[0]):
            raise ProtocolError("a header block that is not continued")
        if handler := _HANDLERS.get(kind):  # others are to be ignored
            handler(self, flags, stream, payload)

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        if not 0 < stream <= self._last:
            raise ProtocolError("data of no call")
        self._give_back(stream, len(payload))
        call = self._calls.get(stream)
        if call is None or call.whole or call.status:
            return  # it ended early; this was on its way
        piece = frames.content(flags, payload)
        try:
            self._server.hold(call, len(piece))
            call.message.add(piece)
            if flags & frames.END_STREAM:
                self._start(call)
        except ServingError as error:
            self._refuse(call, error)

    def _give_back(self, stream: int, size: int) -> None:
        """Let the client send as much again, before it has to wait."""
        self._taken += size
        if self._taken > _WINDOW // 2:
            self._out.append(frames.window_update(0, self._taken))
            self._taken = 0
        if stream in self._calls:
            taken = self._taken_of.get(stream, 0) + size
            if taken > _STREAM_WINDOW // 2:
                self._out.append(frames.window_update(stream, taken))
                taken = 0
            self._taken_of[stream] = taken

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        block = frames.content(flags, payload)
        if flags & frames.WITH_PRIORITY:
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
        if len(block) > fields.LARGEST or not (payload or flags & frames.END_HEADERS):
            raise ProtocolError("a header block without an end", frames.ENHANCE_YOUR_CALM)
        if flags & frames.END_HEADERS:
            self._block = None
            self._fields(stream, first, bytes(block))

    def _fields(self, stream: int, flags: int, block: bytes) -> None:
        if len(block) > fields.LARGEST:
            raise ProtocolError(f"a header block of {len(block)} bytes", frames.ENHANCE_YOUR_CALM)
        found = self._reader.read(block)  # also of calls that are refused: blocks may build on each other
        if call := self._calls.get(stream):
            if not flags & frames.END_STREAM:
                raise ProtocolError("a header block amid a call")
            if not call.whole and not call.status:
                self._start(call)
            return
        if stream % 2 == 0 or stream <= self._last:
            if stream and stream <= self._last:
                return  # the end of a call that we ended early
            raise ProtocolError(f"a call on stream {stream}")
        self._check_owed()
        self._last = stream
        call = self._calls[stream] = Call(stream, self._stream_window)
        try:
            self._server.admit()
            call.begin(found, self._server.largest)
            if call.deadline is not None:
                call.timer = self._loop.call_later(call.time_remaining() or 0.0, self._late, call)
            if flags & frames.END_STREAM:
                self._start(call)
        except ServingError as error:
            self._refuse(call, error)

    def _reset(self, _flags: int, stream: int, _payload: bytes) -> None:
        if call := self._calls.get(stream):
            self._forget(call, cancel=True)

    def _settings(self, flags: int, _stream: int, payload: bytes) -> None:
        if flags & frames.ACK:
            self._reader.heard()
            return
        for setting, value in frames.read_settings(payload):
            if setting == frames.INITIAL_WINDOW_SIZE:
                if value > frames.WIDEST_WINDOW:
                    raise ProtocolError(f"a window of {value} bytes", frames.FLOW_CONTROL_ERROR)
                for call in self._calls.values():
                    call.window += value - self._stream_window
                self._stream_window = value
            elif setting == frames.MAX_FRAME_SIZE:
                if not frames.LEAST_FRAME <= value < 1 << 24:
                    raise ProtocolError(f"frames of {value} bytes")
                self._most_frame = value
        self._acknowledge(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))
        self._flush()

    def _ping(self, flags: int, _stream: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise ProtocolError(f"PING with {len(payload)} bytes", frames.FRAME_SIZE_ERROR)
        if not flags & frames.ACK:
            self._acknowledge(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _unasked(self, _flags: int, stream: int, _payload: bytes) -> None:
        raise ProtocolError(f"a promise on stream {stream}")

    # ---- calls

    def _start(self, call: Call) -> None:
        """Have a call's handler run: the request is whole. Or refuse it."""
        call.whole = True
        try:
            handler = self._server.handler(call.path)
            message = call.message.whole()
            self._server.hold(call, max(0, len(message) - len(call.message)))  # unpacked it is larger
        except ServingError as error:
            self._refuse(call, error)
            return
        self._taken_of.pop(call.stream, None)
        run = self._stream_answers if handler.response_streaming else self._answer
        call.task = self._loop.create_task(run(call, handler, message))

    async def _answer(self, call: Call, handler: Any, message: bytes) -> None:
        try:
            answer = await handler.unary_unary(message, call)
            if len(answer) > self._server.largest:
                text = f"Sent message larger than max ({len(answer)} vs. {self._server.largest})"
                raise ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
            self._say(call, answer, _OK)
        except Exception as error:  # noqa: BLE001 - it ends this call, and nothing else
            self._refuse(call, error)
        self._write()

    async def _stream_answers(self, call: Call, handler: Any, message: bytes) -> None:
        try:
            async for answer in handler.unary_stream(message, call):
                self._say(call, answer, None)
                self._write()
                if call.answer:
                    call.waits = self._loop.create_future()
                    await call.waits
            self._say(call, None, _OK)
        except Exception as error:  # noqa: BLE001 - as above
            self._refuse(call, error)
        self._write()

    def _late(self, call: Call) -> None:
        """Nobody waits for it any more."""
        if call.status:  # the answer is there, but the client does not take it
            self._out.append(frames.reset(call.stream, frames.CANCEL))
            self._forget(call, cancel=False)
        else:
            if call.task:
                call.task.cancel()
            self._refuse(call, ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))
        self._write()


_HANDLERS: dict[int, Callable[[Connection, int, int, bytes], None]] = {
    frames.DATA: Connection._data,
    frames.HEADERS: Connection._headers,
    frames.RST_STREAM: Connection._reset,
    frames.SETTINGS: Connection._settings,
    frames.PUSH_PROMISE: Connection._unasked,
    frames.PING: Connection._ping,
    frames.WINDOW_UPDATE: Connection._window_update,
    frames.CONTINUATION: Connection._continued,
}
