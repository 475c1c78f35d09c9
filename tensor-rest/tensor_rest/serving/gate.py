"""Whether a call may start, wait or be repeated while the model server is away: a circuit breaker and a retry budget.

Serving that restarts is away for a few seconds. Calls that come meanwhile, or were under way, are answered late: they
wait for the connection. Serving that stays away longer than the grace period is refused for at once, and one call per
interval tries the way back.
"""

import time
from types import TracebackType

from ..errors import DeadlineError, UnavailableError
from ..guard import metrics
from .baton import brief_lock

PROBE_SECONDS = 0.5
"""Between two calls that try whether serving is back."""

_EARNED = 0.1  # of a retry by each call that succeeds: repeats can never be more than a tenth of a steady load

_AWAY = "The model server does not answer; it may be starting."
_FULL = "The model server does not answer, and enough requests wait for it already."


class Gate:
    """Enter it for the time of a call (`with gate:`); at most three quarters of `calls` may wait for serving at once.

    `calls` is how many the process can hold, so that some room is left for those that need no serving. Entering raises
    UnavailableError. A DeadlineError leaves as one, too, while serving is away: that is what the time went for. `grace`
    is in seconds.
    """

    def __init__(self, grace: float, calls: int) -> None:
        self._grace = grace
        self._most = max(1, calls * 3 // 4)
        self._saved_most = float(calls + 8)  # all calls of the process may be cut by one restart
        self._saved = self._saved_most
        self._inside = 0
        self._away_since: float | None = None
        self._probed = 0.0
        self._lock = brief_lock()

    def __enter__(self) -> "Gate":
        with self._lock:
            if self._away_since is not None:
                self._admit(time.monotonic())
            self._inside += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
        if self._away_since is not None and isinstance(error, DeadlineError):
            raise UnavailableError("The model server did not come back in time.") from error

    @property
    def state(self) -> str:
        """`closed`: serving answers; `waiting`: away, calls wait for it; `open`: away for too long."""
        since = self._away_since
        if since is None:
            return "closed"
        return "waiting" if time.monotonic() - since < self._grace else "open"

    def succeeded(self) -> None:
        """Serving answered, whatever it said."""
        if self._away_since is None and self._saved >= self._saved_most:
            return  # the usual case, without the lock
        with self._lock:
            if self._away_since is not None:
                self._away_since = None
                metrics.breaker(is_open=False)
            self._saved = min(self._saved_most, self._saved + _EARNED)

    def failed(self) -> bool:
        """Serving could not be reached, or went away under the call. True: the call may be repeated."""
        with self._lock:
            now = time.monotonic()
            if self._away_since is None:
                self._away_since = now
            if now - self._away_since >= self._grace or self._saved < 1:
                return False
            self._saved -= 1
            return True

    def _admit(self, now: float) -> None:
        if self._inside >= self._most:
            raise UnavailableError(_FULL)
        if now - (self._away_since or now) < self._grace:
            return
        metrics.breaker(is_open=True)
        if now - self._probed < PROBE_SECONDS:
            raise UnavailableError(_AWAY)
        self._probed = now
