"""The request that the current thread or greenlet works for: its id, deadline and WSGI environment."""

from collections.abc import Mapping
from contextvars import ContextVar
from time import monotonic
from types import MappingProxyType
from typing import Any, NamedTuple

from tensor_rest.errors import DeadlineError


class RequestContext(NamedTuple):
    """The id, deadline and WSGI environment of a request.

    `deadline` is an instant of `time.monotonic`; None: only the setting limits a call.
    """

    request_id: str = ""
    deadline: float | None = None
    environ: Mapping[str, Any] = MappingProxyType({})


_NONE = RequestContext()
_CONTEXT: ContextVar[RequestContext] = ContextVar("request_context", default=_NONE)


def begin(request_id: str, deadline: float | None, environ: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Set the request that this thread works for."""
    _CONTEXT.set(RequestContext(request_id, deadline, environ))


def end() -> None:
    """Clear the request: greenlets are re-used, and would hold the body of their last request until then."""
    _CONTEXT.set(_NONE)


def current() -> RequestContext:
    """Return the request that this thread works for; an empty one outside of requests."""
    return _CONTEXT.get()


def body_bytes() -> int:
    """Return the size of the request's body, which is kept in memory until the request is answered."""
    length = current().environ.get("CONTENT_LENGTH") or "0"
    return int(length) if length.isascii() and length.isdigit() else 0


def check() -> None:
    """Raise DeadlineError if the deadline is over. For work in the gateway that is done piece by piece."""
    deadline = current().deadline
    if deadline is not None and monotonic() > deadline:
        raise DeadlineError("The gateway could not work through this request in time; send less at once.")
