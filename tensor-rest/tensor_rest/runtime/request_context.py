"""On whose behalf the running thread calls serving: the request's id and how long its sender waits."""

from collections.abc import Mapping
from contextvars import ContextVar
from time import monotonic
from types import MappingProxyType
from typing import Any, NamedTuple

from tensor_rest.errors import DeadlineError


class RequestContext(NamedTuple):
    """`deadline` is an instant of `time.monotonic`, None where only the setting bounds a call; `environ` is WSGI's."""

    request_id: str = ""
    deadline: float | None = None
    environ: Mapping[str, Any] = MappingProxyType({})


_NONE = RequestContext()
_CONTEXT: ContextVar[RequestContext] = ContextVar("caller", default=_NONE)


def begin(request_id: str, deadline: float | None, environ: Mapping[str, Any] = MappingProxyType({})) -> None:
    """From now on this thread works for that request."""
    _CONTEXT.set(RequestContext(request_id, deadline, environ))


def end() -> None:
    """It works for none any more. A greenlet is used again, and would hold the body of its last request until then."""
    _CONTEXT.set(_NONE)


def current() -> RequestContext:
    """The request this thread works for; an empty one outside of any."""
    return _CONTEXT.get()


def body_bytes() -> int:
    """How large the body of the request is, which is kept until it is answered."""
    length = current().environ.get("CONTENT_LENGTH") or "0"
    return int(length) if length.isascii() and length.isdigit() else 0


def check() -> None:
    """Raise DeadlineError if the sender waits no longer: for work here that goes on piece by piece."""
    deadline = current().deadline
    if deadline is not None and monotonic() > deadline:
        raise DeadlineError("The gateway could not work through this request in time; send less at once.")
