"""On whose behalf the running thread calls serving: the request's id and how long its sender waits."""

from contextvars import ContextVar
from time import monotonic
from typing import NamedTuple

from ..errors import DeadlineError


class Caller(NamedTuple):
    """`deadline` is an instant of `time.monotonic`, None where only the setting bounds a call."""

    request_id: str = ""
    deadline: float | None = None


_CALLER: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039 - a named tuple never changes


def begin(request_id: str, deadline: float | None) -> None:
    """From now on this thread works for that request."""
    _CALLER.set(Caller(request_id, deadline))


def current() -> Caller:
    """The request this thread works for; nobody's outside of one."""
    return _CALLER.get()


def check() -> None:
    """Raise DeadlineError if the sender waits no longer: for work here that goes on piece by piece."""
    deadline = current().deadline
    if deadline is not None and monotonic() > deadline:
        raise DeadlineError("The gateway could not work through this request in time; send less at once.")
