"""Whether a call may start, has to wait or is refused: a circuit breaker, a retry budget, and a queue for an outage.

    closed      the model server answers; calls pass without a lock
    waiting     it cannot be reached, for less than the grace: calls are queued, one thread tries to connect
    open        for longer: calls are refused at once, except one per `PROBE_SECONDS`

A queued call costs its greenlet and its bytes. When the server can be reached again, calls that were lost while it
worked on them are repeated first, one at a time: if one of them crashes the server, no other call is lost with it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

import numpy as np

from tensor_rest.backend.status import RpcError
from tensor_rest.errors import DeadlineError, UnavailableError
from tensor_rest.observability import metrics
from tensor_rest.runtime import request_context
from tensor_rest.runtime.wakeup import brief_lock, one_shot_event

PROBE_SECONDS = 0.5
"""Between two calls that probe the server while the breaker is open."""

MAX_QUEUED_BYTES = 128 << 20
"""Limit for bodies and tensors of the calls that arrived in an outage: further calls are refused."""

MAX_GRACE_SECONDS = 60.0
"""Limit to which a slow start of the server can raise the grace."""

_CALL_BYTES = 32 << 10  # what a queued call costs besides its body and tensors
_CONNECT_INTERVAL_S = 0.05
_TRIAL_INTERVAL_S = 0.1  # between two calls to a server that accepts connections but has not answered yet
_ALONE_SECONDS = 5.0  # for which a repeated call runs alone; a server that has just started may load models first
_MARGIN = 1.5  # grace after a slow start, in multiples of its duration
_EARNED = 0.1  # retries per successful call: repeats can never be more than a tenth of a steady load

_NO_ANSWER = "The model server does not answer; it may be starting."
_FULL = "The model server does not answer, and the calls that wait for it fill the memory set aside for them."


class _Queued:
    """A call in the queue; `granted`: it may be made; `lost`: it repeats a call that was lost."""

    __slots__ = ("granted", "lost", "one_shot_event")

    def __init__(self, lost: bool) -> None:
        self.one_shot_event = one_shot_event()
        self.lost = lost
        self.granted = False


class CircuitBreaker:
    """A context manager for the time of a call (`with breaker:`), entered after `admit` if it is not `closed`.

    While the server cannot be reached, a DeadlineError becomes an UnavailableError: the outage used up the time.
    `grace` is in seconds; it grows with the longest start of the server so far. `calls` is how many may leave the
    queue at once. `reach` connects to the server, or raises RpcError.
    """

    def __init__(self, grace: float, calls: int, reach: Callable[[], None]) -> None:
        self.closed = True
        self._grace = grace
        self._most = calls
        self._reach = reach
        self._max_retries = float(calls + 8)  # all calls of the process may be cut by one restart
        self._retries = self._max_retries
        self._outage_since: float | None = None
        self._reached = False  # a connection was possible since the last call that failed or was lost
        self._probed = 0.0  # when a call was let through while open,
        self._tried = 0.0  # and while waiting
        self._lost: deque[_Queued] = deque()
        self._others: deque[_Queued] = deque()
        self._permits = 0  # calls that have left the queue and have not ended
        self._alone_since: float | None = None  # when the repeat of a lost call began
        self._held: dict[int, int] = {}  # bytes of each call that arrived in an outage, by thread
        self._held_bytes = 0
        self._monitored = False
        self._lock = brief_lock()

    def __enter__(self) -> "CircuitBreaker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held:
            with self._lock:
                self._held_bytes -= self._held.pop(threading.get_ident(), 0)
        if self._outage_since is not None and isinstance(error, DeadlineError):
            raise UnavailableError("The model server was not available again in time.") from error

    def admit(self, inputs: Mapping[str, np.ndarray] | None = None) -> None:
        """Admit a call that arrives in an outage. Raises UnavailableError if the breaker is open, or no memory is left
        for the call."""
        size = _CALL_BYTES + request_context.body_bytes() + sum(array.nbytes for array in (inputs or {}).values())
        with self._lock:
            if self._open(time.monotonic()):
                metrics.breaker(is_open=True)
                if time.monotonic() - self._probed < PROBE_SECONDS:
                    raise UnavailableError(_NO_ANSWER)
            if self._held_bytes + size > MAX_QUEUED_BYTES:
                raise UnavailableError(_FULL)
            self._held[threading.get_ident()] = size
            self._held_bytes += size

    @property
    def waiting(self) -> int:
        """How many calls arrived in an outage and have not ended."""
        return len(self._held)

    @property
    def state(self) -> str:
        """`closed`, `waiting` or `open`."""
        if self._outage_since is None:
            return "closed"
        return "open" if self._open(time.monotonic()) else "waiting"

    def succeeded(self) -> None:
        """Record that the server answered, with any status."""
        if self.closed and self._retries >= self._max_retries:
            return  # the usual case, without the lock
        with self._lock:
            self._retries = min(self._max_retries, self._retries + _EARNED)
            if self._outage_since is not None:
                self._learn(time.monotonic() - self._outage_since)
                self._outage_since = None
                metrics.breaker(is_open=False)
            self._release()

    def record_unreachable(self) -> bool:
        """Record that the server was unreachable, or lost during a call. Returns whether the call may wait for it."""
        with self._lock:
            self._reached = False
            return self._fail()

    def may_repeat(self) -> bool:
        """Return whether a call that was not carried out may be repeated, and take that from the retry budget."""
        with self._lock:
            if not self._fail() or self._retries < 1:
                return False
            self._retries -= 1
            return True

    @contextmanager
    def permit(self, deadline: float, lost: bool) -> Iterator[None]:
        """Wait until a call may be made, or made once more; `lost`: it was lost while the server worked on it.

        Raises UnavailableError once the grace is over, DeadlineError at the deadline (`time.monotonic`).
        """
        self._wait(_Queued(lost), deadline)
        try:
            yield
        finally:
            with self._lock:
                self._permits -= 1
                if lost:
                    self._alone_since = None
                self._release()

    def _open(self, now: float) -> bool:
        return self._outage_since is not None and now - self._outage_since >= self._grace

    def _fail(self) -> bool:
        now = time.monotonic()
        self.closed = False
        if self._outage_since is None:
            self._outage_since = now
        return not self._open(now)

    def _learn(self, seconds: float) -> None:
        """Raise the grace to fit a start of this length; a longer outage was not a start."""
        if _MARGIN * seconds <= MAX_GRACE_SECONDS:
            self._grace = max(self._grace, _MARGIN * seconds)

    def _wait(self, queued: _Queued, deadline: float) -> None:
        try:
            self._join(queued)
            while not queued.granted:
                now = time.monotonic()
                since = self._outage_since
                until = deadline if since is None else min(deadline, since + self._grace)
                if until <= now:
                    raise (
                        UnavailableError(_NO_ANSWER)
                        if until < deadline
                        else DeadlineError("The model server did not answer in time.")
                    )
                queued.one_shot_event.wait(until - now)
        except BaseException:  # also when the request is killed
            with self._lock:
                self._withdraw(queued)
            raise

    def _join(self, queued: _Queued) -> None:
        with self._lock:
            now = time.monotonic()
            if self._open(now):
                if now - self._probed < PROBE_SECONDS:
                    raise UnavailableError(_NO_ANSWER)
                self._probed = now
                self._grant(queued)
                return
            (self._lost if queued.lost else self._others).append(queued)
            self._release()
            start = not self._monitored and not self.closed
            self._monitored = self._monitored or start
        if start:
            threading.Thread(target=self._monitor, name="outage", daemon=True).start()

    def _withdraw(self, queued: _Queued) -> None:
        if queued.granted:
            self._permits -= 1
            if queued.lost:
                self._alone_since = None
        else:
            queue = self._lost if queued.lost else self._others
            if queued in queue:
                queue.remove(queued)
        self._release()

    def _release(self) -> None:
        """Grant all queued calls that may be made now."""
        if self._outage_since is None or self._reached:
            alone = self._alone_since is not None and time.monotonic() - self._alone_since < _ALONE_SECONDS
            if self._lost and self._alone_since is None:  # never two at a time, however long one takes
                self._alone_since = time.monotonic()
                self._grant(self._lost.popleft())
            elif not alone and self._outage_since is not None:
                if self._others and time.monotonic() - self._tried >= _TRIAL_INTERVAL_S:
                    self._tried = time.monotonic()
                    self._grant(self._others.popleft())
            elif not alone:
                while self._others and self._permits < self._most:
                    self._grant(self._others.popleft())
        self.closed = self._outage_since is None and not self._lost and self._alone_since is None

    def _grant(self, queued: _Queued) -> None:
        queued.granted = True
        self._permits += 1
        queued.one_shot_event.set()

    def _monitor(self) -> None:
        """Connect, in a thread while calls are queued, and end the time for which a repeated call runs alone."""
        while True:
            with self._lock:
                if self._outage_since is None or self._reached:
                    self._release()
                if not (self._lost or self._others) or self._open(time.monotonic()):
                    self._monitored = False
                    return
                look = not self._reached
            if look:
                self._look()
            time.sleep(_CONNECT_INTERVAL_S)

    def _look(self) -> None:
        try:
            self._reach()
        except RpcError:
            return
        with self._lock:
            self._reached = True
            self._release()
