"""The exceptions for requests that fail, each with its HTTP status."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

Kept = TypeVar("Kept", bound=BaseException)


class ApiError(Exception):
    """An error response: message, status, seconds after which a retry makes sense, further headers."""

    status = 500
    retry_after: int | None = None
    headers: Mapping[str, str] = MappingProxyType({})


class BadRequestError(ApiError):
    """The request is invalid."""

    status = 400


class UnauthorizedError(ApiError):
    """The API key is missing or unknown."""

    status = 401
    headers = MappingProxyType({"WWW-Authenticate": 'Bearer realm="tensor-lab"'})


class ForbiddenError(ApiError):
    """Not allowed for this caller, from this page, or for this URL."""

    status = 403


class NotFoundError(ApiError):
    """No such model, version or page."""

    status = 404


class RequestTimeoutError(ApiError):
    """The request body arrived too slowly."""

    status = 408


class ConflictError(ApiError):
    """The model exists but cannot do this."""

    status = 409


class LengthRequiredError(ApiError):
    """The body has no Content-Length, and there is no nginx in front that buffers it."""

    status = 411


class TooLargeError(ApiError):
    """Too many bytes or pixels."""

    status = 413


class UnsupportedMediaError(ApiError):
    """A format, or a Content-Encoding, that is not supported."""

    status = 415


class MisdirectedError(ApiError):
    """The Host header names another host."""

    status = 421


class TooManyRequestsError(ApiError):
    """The model server's queue is full."""

    status = 429
    retry_after = 1


class BadGatewayError(ApiError):
    """The model server's answer is invalid."""

    status = 502


class UnavailableError(ApiError):
    """The gateway or the model server is unavailable; a retry may succeed."""

    status = 503
    retry_after = 1


class DeadlineError(ApiError):
    """The model server did not answer within the deadline."""

    status = 504


class FullError(ApiError):
    """The storage for feedback is full."""

    status = 507


def without_frames(error: Kept) -> Kept:
    """Return an error that will be stored, without its tracebacks.

    Their frames hold the request's body and arrays, and often the error itself: such a reference cycle is freed only
    when Python's garbage collector runs, hundreds of requests later.
    """
    cut: BaseException | None = error
    while cut is not None and cut.__traceback__ is not None:
        cut.__traceback__ = None
        cut = cut.__cause__ or cut.__context__
    return error
