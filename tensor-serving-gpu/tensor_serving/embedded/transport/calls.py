"""The calls of one client: which run, which wait, and how they end."""

import logging
from typing import TYPE_CHECKING, Any

import grpc

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.transport import frames, limits
from tensor_serving.embedded.transport.answers import Answers
from tensor_serving.embedded.transport.call import Call
from tensor_serving.embedded.transport.frames import ProtocolError

if TYPE_CHECKING:
    from tensor_serving.embedded.transport.server import Server

log = logging.getLogger(__name__)

_OK = (grpc.StatusCode.OK, "")


class Calls(Answers):
    """The part of a connection that runs calls.

    A client that does not read its answers has no more of them worked out: calls wait as long as what it has not read
    and what the running ones are expected to answer take MAX_UNREAD_BYTES.
    """

    def __init__(self, server: "Server") -> None:
        super().__init__(server)
        self._left = 0  # frames of this turn
        self._running = 0
        self._expected = limits.EXPECTED_BYTES  # of an answer
        self._waiting: dict[int, tuple[Call, Any, bytes]] = {}
        self._held = 0  # bytes of requests
        self._taken_of: dict[int, int] = {}  # bytes of each call's data that the client does not know yet to be taken

    def _start(self, call: Call) -> None:
        """Have a call's handler run: the request is whole. Or refuse it."""
        call.whole = True
        if call.length is not None and call.length != call.received:
            raise ProtocolError(f"content-length {call.length}, and {call.received} bytes")
        try:
            if call.refused:
                raise call.refused
            handler = self._server.handler(call.path)
            message = call.message.whole()
            if (more := len(message) - len(call.message)) > 0:
                self._hold(call, more)  # unpacked it is larger
        except ServingError as error:
            self._reject(call, error)
            return
        if handler.response_streaming:
            call.task = self._loop.create_task(self._stream_answers(call, handler, message))
        elif not self._waiting and self._may_run():
            self._run(call, handler, message)
        else:
            self._waiting[call.stream] = call, handler, message

    def _may_run(self) -> bool:
        expected = self._unread + (self._running + 1) * self._expected
        return expected <= limits.MAX_UNREAD_BYTES or not (self._running or self._unread)

    def _run(self, call: Call, handler: Any, message: bytes) -> None:
        call.runs = True
        self._running += 1
        call.task = self._loop.create_task(self._answer(call, handler, message))

    def _run_waiting(self) -> None:
        while self._waiting and not self._ended and self._may_run():
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
        except Exception as error:  # noqa: BLE001 - it ends this call, and nothing else
            self._refuse(call, error)
        if call.runs:  # with an answer that waits to be read
            self._stop_running(call)
        self._write()

    async def _stream_answers(self, call: Call, handler: Any, message: bytes) -> None:
        try:
            async for answer in handler.unary_stream(message, call):
                self._send(call, b"\0" + len(answer).to_bytes(4, "big") + answer, None)
                self._write()
                if call.answer:
                    call.waits = self._loop.create_future()
                    await call.waits
            self._send(call, b"", _OK)
        except Exception as error:  # noqa: BLE001 - as above
            self._refuse(call, error)
        self._write()

    def _flush(self) -> None:
        super()._flush()
        if self._waiting:
            self._run_waiting()

    def _late(self, call: Call) -> None:
        """No caller waits for it any more."""
        if call.status:  # the answer is there, but the client does not take it
            self._out.append(frames.reset(call.stream, frames.CANCEL))
            self._forget(call, cancel=False)
        else:
            if call.task:
                call.task.cancel()
            self._refuse(call, ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))
        self._write()

    def _reject(self, call: Call, error: ServingError) -> None:
        """Refuse a call that cannot be; unless the server is at fault, which is full, it counts as part of a flood."""
        self._refuse(call, error)
        self._left -= limits.ENDED_CALL_COST
        if error.code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            self._spend()

    def _refuse(self, call: Call, error: Exception) -> None:
        """End a call with the status of `error`; whatever of its answer waits is dropped."""
        if not isinstance(error, ServingError):
            log.error("unexpected error in %s", call.path, exc_info=error)
            error = ServingError(grpc.StatusCode.UNKNOWN, "internal error; the server's log has the details")
        if self._calls.get(call.stream) is not call:
            return
        if call.answer:
            self._drop(call)
        self._send(call, call.page, (error.code, error.text))
        if not (call.whole or call.answer):
            self._out.append(frames.reset(call.stream, frames.NO_ERROR))  # the client need not send the rest

    def _forget(self, call: Call, cancel: bool) -> None:
        """Let go of a call that is over."""
        del self._calls[call.stream]
        if call.answer:
            self._drop(call)
        if self._waiting:
            self._waiting.pop(call.stream, None)
        self._taken_of.pop(call.stream, None)
        if call.timer:
            call.timer.cancel()
        if cancel and call.task:
            call.task.cancel()
        if call.waits and not call.waits.done():
            call.waits.set_result(None)
        self._held -= call.held
        self._server.release(call)
        if call.runs:
            self._stop_running(call)

    def _stop_running(self, call: Call) -> None:
        """Count a call that answered, or was cancelled before it could."""
        call.runs = False
        self._running -= 1
        if self._waiting:
            self._run_waiting()

    def _hold(self, call: Call, size: int) -> None:
        """Count bytes that are kept for a call. Raises ServingError when that is too much."""
        pool = self._server.requests
        if not pool.fits(self._held, size):
            raise ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many large messages at the same time")
        self._held += size
        call.held += size
        pool.used += size
