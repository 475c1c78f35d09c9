"""One call over the channel: bounded in time, waiting for a server that restarts, repeated where that is safe."""

import random
import time
from collections.abc import Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from ..errors import DeadlineError, from_grpc
from ..guard import metrics
from ..wire.status import Code, RpcError
from .channel import Channel
from .gate import Gate

Answer = TypeVar("Answer", bound=Message)

_GONE = (Code.UNAVAILABLE, Code.CANCELLED)
"""The server is away or going (it cancels what is under way; nobody else cancels our calls)."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5  # seconds before a repeat: a random part of it, doubled each time
_MOST_IDS = 16  # of the requests a call is made for, in its metadata


class Calls:
    """Makes calls through `channel` as far as `gate` allows."""

    def __init__(self, channel: Channel, gate: Gate) -> None:
        self._channel, self._gate = channel, gate

    def ask(self, path: str, request: bytes, answer: type[Answer], deadline: float, ids: Sequence[str]) -> Answer:
        """The answer to a serialized request, at the latest at `deadline` (`time.monotonic`), from within the gate.

        Raises the ApiError of errors.GRPC_ERRORS.
        While serving is away the call waits for it, and one that was under way is repeated: nothing is lost in a
        restart that is over before the deadline.
        """
        pause = _FIRST_PAUSE
        while True:
            waits = self._gate.state == "waiting"
            try:
                reply = self._once(path, request, answer, deadline, ids, waits)
            except RpcError as error:
                code = error.code
                if code not in _GONE or not self._gate.failed():
                    raise from_grpc(error, self._channel.address) from error
                metrics.retried()
                time.sleep(min(random.uniform(0, pause), max(0.0, deadline - time.monotonic())))
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return reply

    def look(self, path: str, request: bytes, answer: type[Answer], deadline: float, ids: Sequence[str]) -> Answer:
        """The same for a call that only asks how serving is: neither waits nor repeated, whatever the gate says."""
        try:
            return self._once(path, request, answer, deadline, ids, False)
        except RpcError as error:
            raise from_grpc(error, self._channel.address) from error

    def _once(
        self, path: str, request: bytes, answer: type[Answer], deadline: float, ids: Sequence[str], waits: bool
    ) -> Answer:
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineError("The model server did not answer in time.")
        metadata = (("x-request-id", ",".join(ids[:_MOST_IDS])),) if ids and ids[0] else ()
        try:
            reply = answer.FromString(self._channel.call(path, request, left, waits, metadata))
        except DecodeError as error:
            self._gate.succeeded()
            raise RpcError(Code.INTERNAL, f"an answer that is no {answer.DESCRIPTOR.name}") from error
        except RpcError as error:
            if error.code not in (*_GONE, Code.DEADLINE_EXCEEDED):
                self._gate.succeeded()
            raise
        self._gate.succeeded()
        return reply
