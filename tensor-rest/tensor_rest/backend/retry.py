"""One call over the channel: bounded in time, waiting for a server that restarts, repeated where that is safe.

- There was no connection: nothing was sent; the call is made when the server can be reached.
- The connection was lost before all was sent, or the server answered GOAWAY with a lower stream id, UNAVAILABLE or
  CANCELLED: it did not begin the call, or still runs; the call is repeated within a budget.
- The connection was lost after all was sent: the call may have crashed the server. It is repeated once, marked as a
  repeat, with no other call of this worker and no other repeat of any worker under way. The embedded server refuses
  it if it knows that this very call crashed it. Refused or lost again, it fails, and the same bytes are refused for a
  minute.
"""

import hashlib
import logging
import math
import random
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from tensor_rest.backend.addresses import Address
from tensor_rest.backend.channel import Channel, UnreachableError
from tensor_rest.backend.circuit_breaker import CircuitBreaker
from tensor_rest.backend.grpc_errors import from_grpc
from tensor_rest.backend.http2 import LostError
from tensor_rest.backend.repeats import RepeatLock
from tensor_rest.backend.status import Code, RpcError
from tensor_rest.errors import DeadlineError, UnavailableError
from tensor_rest.observability import metrics

log = logging.getLogger(__name__)

Answer = TypeVar("Answer", bound=Message)

_NOT_AVAILABLE = (Code.UNAVAILABLE, Code.CANCELLED)
"""The server is unavailable or shuts down (it cancels calls in flight; nothing else cancels them)."""

_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.05, 0.5  # seconds before a further repeat: a random part of it, doubled each time
_REPEAT = ("x-previous-attempts", "1")  # as the embedded server reads it
_MAX_IDS = 16  # of the requests a call is made for, in its metadata and in the log
_REFUSED_SECONDS = 60
_MAX_REFUSED = 64  # calls that crashed the server: the last ones are remembered


class SharedCallLostError(UnavailableError):
    """The server was lost during a call for several requests: each is repeated alone, marked as lost."""


Route = Callable[[str, int | None], Collection[Address] | None]
"""The addresses that have a version of a model (None: any version); None where all are as good."""


class Calls:
    """Makes calls through `channel`, when `breaker` allows it, to the addresses that `route` returns."""

    def __init__(self, channel: Channel, breaker: CircuitBreaker, repeats: RepeatLock, route: Route) -> None:
        self._channel, self._breaker, self._repeats, self._route = channel, breaker, repeats, route
        self._refused: dict[bytes, float] = {}  # until when, by digest

    def call(
        self,
        path: str,
        request: bytes,
        answer: type[Answer],
        deadline: float,
        ids: Sequence[str],
        model: str,
        version: int | None = None,
        lost: bool = False,
    ) -> Answer:
        """Return the answer to a serialized request about a `version` of `model`, before `deadline`
        (`time.monotonic`).

        `lost`: the call was lost before, as part of a shared one. Raises the ApiError of grpc_errors.GRPC_ERRORS.
        While the server is unavailable the call waits: a restart that ends before the deadline loses no call.
        """
        if self._refused:
            self._check_refused(path, request, model)
        if self._breaker.closed and not lost:
            try:
                return self._once(path, request, answer, deadline, ids, self._route(model, version))
            except RpcError as error:
                lost = self._may_have_crashed_it(error, path, request, ids, model, lost)
        pause = _FIRST_PAUSE_S
        while True:
            with self._breaker.permit(deadline, lost), self._repeats.held() if lost else nullcontext():
                try:
                    return self._once(path, request, answer, deadline, ids, self._route(model, version), lost)
                except RpcError as error:
                    lost = self._may_have_crashed_it(error, path, request, ids, model, lost)
            time.sleep(min(random.uniform(0, pause), max(0.0, deadline - time.monotonic())))
            pause = min(2 * pause, _MAX_PAUSE_S)

    def call_once(self, path: str, request: bytes, answer: type[Answer], deadline: float, ids: Sequence[str]) -> Answer:
        """Make a call about the server's state, which does not wait, whatever the circuit breaker's state.

        It is repeated once if its connection is lost.
        """
        try:
            try:
                return self._once(path, request, answer, deadline, ids)
            except LostError:
                return self._once(path, request, answer, deadline, ids)
        except RpcError as error:
            raise from_grpc(error, self._channel.address) from error

    def _once(
        self,
        path: str,
        request: bytes,
        answer: type[Answer],
        deadline: float,
        ids: Sequence[str],
        among: Collection[Address] | None = None,
        lost: bool = False,
    ) -> Answer:
        """Return the answer. A `lost` call uses a new connection: a kept one may lead to the crashed server, and losing
        it would be taken for a second crash."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineError("The model server did not answer in time.")
        metadata = [("x-request-id", ",".join(ids[:_MAX_IDS]))] if ids and ids[0] else []
        if lost:
            metadata.append(_REPEAT)
        try:
            reply = answer.FromString(self._channel.call(path, request, left, metadata, lost, among))
        except DecodeError as error:
            self._breaker.succeeded()
            raise RpcError(Code.INTERNAL, f"an answer that is not a valid {answer.DESCRIPTOR.name}") from error
        except RpcError as error:
            if error.code not in (*_NOT_AVAILABLE, Code.DEADLINE_EXCEEDED):
                self._breaker.succeeded()
            raise
        self._breaker.succeeded()
        return reply

    def _may_have_crashed_it(
        self, error: RpcError, path: str, request: bytes, ids: Sequence[str], model: str, lost: bool
    ) -> bool:
        """Return whether the call may have crashed the server. Raises the ApiError if it may not be repeated."""
        if lost and error.code is Code.DATA_LOSS:
            self._refuse(path, request, model, ids, "the model server crashed in")
            raise _crash_error(model, _REFUSED_SECONDS) from error
        if error.code not in _NOT_AVAILABLE:
            raise from_grpc(error, self._channel.address) from error
        may_wait = self._breaker.record_unreachable() if isinstance(error, (UnreachableError, LostError)) else True
        if isinstance(error, LostError) and error.begun:
            if lost:
                self._refuse(path, request, model, ids, "the model server was lost twice during")
                raise _crash_error(model, _REFUSED_SECONDS) from error
            named = ", ".join(ids[:_MAX_IDS])
            log.warning("the model server was lost during a call of model %r, requests %s: %s", model, named, error)
            if len(ids) > 1:
                raise SharedCallLostError("The model server was lost during the call.") from error
            lost = True
        elif not isinstance(error, UnreachableError):
            may_wait = self._breaker.may_repeat()
        if not may_wait:
            raise from_grpc(error, self._channel.address) from error
        metrics.retried()
        return lost

    def _refuse(self, path: str, request: bytes, model: str, ids: Sequence[str], what: str) -> None:
        log.error("%s a call of model %r, request %s", what, model, ", ".join(ids[:_MAX_IDS]))
        self._refused[_digest(path, request)] = time.monotonic() + _REFUSED_SECONDS
        while len(self._refused) > _MAX_REFUSED:
            self._refused.pop(next(iter(self._refused)), None)

    def _check_refused(self, path: str, request: bytes, model: str) -> None:
        now = time.monotonic()
        self._refused = {digest: until for digest, until in self._refused.items() if until > now}
        if until := self._refused.get(_digest(path, request)):
            raise _crash_error(model, until - now)


def _digest(path: str, request: bytes) -> bytes:
    return hashlib.blake2b(path.encode() + b"\0" + request, digest_size=16).digest()


def _crash_error(model: str, seconds: float) -> UnavailableError:
    error = UnavailableError(
        f"The model server ended while model {model!r} worked on this request; it is not sent again for "
        f"{math.ceil(seconds)} s."
    )
    error.retry_after = math.ceil(seconds)
    return error
