"""The calls of one client: which run, which wait, and how they end."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import grpc

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.transport import frames, limits
from tensor_serving.embedded.transport.call import Call, Status
from tensor_serving.embedded.transport.flow_control import FlowControl
from tensor_serving.embedded.transport.frame_writer import FrameWriter
from tensor_serving.embedded.transport.frames import ProtocolError
from tensor_serving.embedded.transport.limits import FloodBudget

if TYPE_CHECKING:
    from tensor_serving.embedded.transport.server import Server

log = logging.getLogger(__name__)

_OK = (grpc.StatusCode.OK, "")


class Calls:
    """Runs the calls of one connection, and answers them through `flow`.

    If a client does not read its answers, no further ones are computed: calls wait while its unread answers and the
    expected answers of its running calls exceed MAX_UNREAD_BYTES.
    """

    def __init__(self, server: "Server", writer: FrameWriter, budget: FloodBudget) -> None:
        self._server, self._writer, self._budget = server, writer, budget
        self.flow = FlowControl(writer, budget, server.answers, self._forget, self._run_waiting)
        self.by_stream: dict[int, Call] = {}
        self.last = 0  # the newest stream's id
        self._running = 0
        self._expected = limits.EXPECTED_BYTES  # of an answer
        self._waiting: dict[int, tuple[Call, Any, bytes]] = {}
        self._held = 0  # bytes of requests
        self._closed = False

    # ---- requests

    def begin(self, stream: int, found: Mapping[str, str], whole: bool) -> None:
        """Begin a call with the fields of its header block; `whole`: the request has no body."""
        self.last = stream
        if len(self.by_stream) >= limits.MAX_STREAMS:
            self._budget.spend()
            self._writer.add(frames.reset(stream, frames.REFUSED_STREAM))
            return
        call = self.by_stream[stream] = Call(stream, self._server.now)
        try:
            self._server.count_call(len(self.by_stream))
            call.begin(found, self._server.largest)
            self._server.admit_call(call)
            if call.deadline is not None:
                call.timer = self._server.loop.call_later(call.time_remaining() or 0.0, self._on_deadline, call)
            if whole:
                self._start(call)
        except ServingError as error:
            self._reject(call, error)

    def add_data(self, call: Call, piece: bytes, last: bool) -> None:
        """Add a piece of a call's request. Raises ProtocolError."""
        if call.status:
            return
        call.received += len(piece)
        try:
            if not call.refused:
                self._hold(call, len(piece))
                call.message.add(piece)
            if last:
                self._start(call)
        except ServingError as error:
            self._reject(call, error)

    def end_request(self, call: Call) -> None:
        """Start the call: its request has ended with trailers."""
        if not call.status:
            try:
                self._start(call)
            except ServingError as error:
                self._reject(call, error)

    def cancel(self, call: Call) -> None:
        """Drop a call, and cancel its task."""
        self._forget(call)
        self._cancel_work(call)

    def check_begun(self, stream: int) -> None:
        """Raise ProtocolError for a stream on which no call has begun."""
        if stream > self.last or stream % 2 == 0:
            raise ProtocolError(f"stream {stream} has not begun")

    # ---- for the connection

    @property
    def are_idle(self) -> bool:
        """Whether no call is running: all wait for the client."""
        return all(call.task is None or call.status for call in self.by_stream.values())

    def refuse_stalled(self, now: float) -> None:
        """Refuse the calls whose requests make no progress."""
        for call in [call for call in self.by_stream.values() if not (call.whole or call.status)]:
            timeout = limits.STALL_TIMEOUT_S * (1 + call.received / limits.MIN_PROGRESS_BYTES)
            if now - call.begun > timeout:
                text = f"{call.received} bytes of the request received in {now - call.begun:.0f} s; it is incomplete"
                self._refuse(call, ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, text))

    def close(self) -> None:
        """Cancel all calls, and run no further ones."""
        self._closed = True
        for call in list(self.by_stream.values()):
            self.cancel(call)
        self.flow.close()

    # ---- running

    def _start(self, call: Call) -> None:
        """Run a call's handler, or queue the call: its request is complete. Raises ServingError, ProtocolError."""
        call.whole = True
        if call.length is not None and call.length != call.received:
            raise ProtocolError(f"content-length {call.length}, and {call.received} bytes")
        if call.refused:
            raise call.refused
        handler = self._server.handler(call.path)
        message = call.message.whole()
        if (more := len(message) - len(call.message)) > 0:
            self._hold(call, more)  # it is larger when decompressed
        if handler.response_streaming:
            call.task = self._server.loop.create_task(self._stream_answers(call, handler, message))
        elif not self._waiting and self._may_run():
            self._run(call, handler, message)
        else:
            self._waiting[call.stream] = call, handler, message

    def _may_run(self) -> bool:
        unread = self.flow.unread
        expected = unread + (self._running + 1) * self._expected
        return expected <= limits.MAX_UNREAD_BYTES or not (self._running or unread)

    def _run(self, call: Call, handler: Any, message: bytes) -> None:
        call.runs = True
        self._running += 1
        call.task = self._server.loop.create_task(self._answer(call, handler, message))

    def _run_waiting(self) -> None:
        while self._waiting and not self._closed and self._may_run():
            self._run(*self._waiting.pop(next(iter(self._waiting))))

    async def _answer(self, call: Call, handler: Any, message: bytes) -> None:
        try:
            answer = await handler.unary_unary(message, call)
            size = len(answer)
            if size > self._server.largest:
                text = f"Sent message larger than max ({size} vs. {self._server.largest})"
                raise ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
            self._expected = max(size, self._expected * 7 // 8)
            self._send(call, b"\0" + size.to_bytes(4, "big") + answer, _OK)
        except Exception as error:  # noqa: BLE001 - it must end only this call
            self._refuse(call, error)
        if call.runs:  # else it is finished; its answer may still wait to be read
            self._stop_running(call)
        self._writer.write()

    async def _stream_answers(self, call: Call, handler: Any, message: bytes) -> None:
        try:
            async for answer in handler.unary_stream(message, call):
                self._send(call, b"\0" + len(answer).to_bytes(4, "big") + answer, None)
                self._writer.write()
                if call.answer:
                    call.waits = self._server.loop.create_future()
                    await call.waits
                if self.by_stream.get(call.stream) is not call:  # ended: there was no memory for its answer
                    break
            self._send(call, b"", _OK)
        except Exception as error:  # noqa: BLE001 - as above
            self._refuse(call, error)
        self._writer.write()

    def _send(self, call: Call, body: bytes, status: Status | None) -> None:
        if self.by_stream.get(call.stream) is call:  # else it was reset meanwhile
            self.flow.send(call, body, status)

    # ---- how a call ends

    def _on_deadline(self, call: Call) -> None:
        """End a call whose deadline has passed."""
        if call.status:  # the answer is complete, but the client does not read it
            self._writer.add(frames.reset(call.stream, frames.CANCEL))
            self._forget(call)
        else:
            self._refuse(call, ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))
            self._cancel_work(call)
        self._writer.write()

    def _reject(self, call: Call, error: ServingError) -> None:
        """Refuse a call: it is invalid, which counts against the flood budget, or the server has no capacity for it."""
        self._refuse(call, error)
        self._budget.turn -= limits.ENDED_CALL_COST
        if error.code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            self._budget.spend()

    def _refuse(self, call: Call, error: Exception) -> None:
        """End a call with the status of `error`; the unsent part of its answer is dropped."""
        if not isinstance(error, ServingError):
            log.error("unexpected error in %s", call.path, exc_info=error)
            error = ServingError(grpc.StatusCode.UNKNOWN, "internal error; the server's log has the details")
        if self.by_stream.get(call.stream) is not call:
            return
        if call.answer:
            self.flow.drop(call)
        self.flow.send(call, call.page, (error.code, error.text))
        if not (call.whole or call.answer):
            self._writer.add(frames.reset(call.stream, frames.NO_ERROR))  # the client need not send the rest

    def _forget(self, call: Call) -> None:
        """Release everything that belongs to a finished call."""
        del self.by_stream[call.stream]
        if call.answer:
            self.flow.drop(call)
        if self._waiting:
            self._waiting.pop(call.stream, None)
        if call.timer:
            call.timer.cancel()
        if call.waits and not call.waits.done():
            call.waits.set_result(None)
        self._held -= call.held
        self._server.release(call)
        if call.runs:
            self._stop_running(call)

    @staticmethod
    def _cancel_work(call: Call) -> None:
        """Cancel a call's task and drop the reference to it, as its error's traceback refers to the call."""
        if call.task:
            call.task.cancel()
            call.task = None

    def _stop_running(self, call: Call) -> None:
        """Count a call as no longer running: it has answered or was cancelled."""
        call.runs = False
        self._running -= 1
        if self._waiting:
            self._run_waiting()

    def _hold(self, call: Call, size: int) -> None:
        """Count bytes that are kept for a call. Raises ServingError when they exceed the pool."""
        pool = self._server.requests
        if not pool.fits(self._held, size):
            raise ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many large messages at the same time")
        self._held += size
        call.held += size
        pool.used += size
