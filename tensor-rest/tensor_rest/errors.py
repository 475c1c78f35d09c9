"""Everything that can go wrong with a request, each exception with its HTTP status."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

Kept = TypeVar("Kept", bound=BaseException)


class ApiError(Exception):
    """An error answer: message, status, after how many seconds trying again makes sense, further headers."""

    status = 500
    retry_after: int | None = None
    headers: Mapping[str, str] = MappingProxyType({})


class BadRequestError(ApiError):
    """The request is wrong in itself."""

    status = 400


class UnauthorizedError(ApiError):
    """No key, or not one of ours."""

    status = 401
    headers = MappingProxyType({"WWW-Authenticate": 'Bearer realm="tensor-lab"'})


class ForbiddenError(ApiError):
    """Understood, and not allowed from there or to there."""

    status = 403


class NotFoundError(ApiError):
    """No such model, version or page."""

    status = 404


class RequestTimeoutError(ApiError):
    """The request came too slowly."""

    status = 408


class ConflictError(ApiError):
    """The model exists but cannot do this."""

    status = 409


class LengthRequiredError(ApiError):
    """A body of unknown length, where nothing in front of us collects it."""

    status = 411


class TooLargeError(ApiError):
    """Too many bytes or pixels."""

    status = 413


class UnsupportedMediaError(ApiError):
    """Not a picture of a kind we read."""

    status = 415


class MisdirectedError(ApiError):
    """SignatureRef under a name that is not ours."""

    status = 421


class TooManyRequestsError(ApiError):
    """The model server's queue is full."""

    status = 429
    retry_after = 1


class BadGatewayError(ApiError):
    """Serving answered something that makes no sense."""

    status = 502


class UnavailableError(ApiError):
    """Serving does not answer; it may in a moment."""

    status = 503
    retry_after = 1


class DeadlineError(ApiError):
    """Serving did not answer within the deadline."""

    status = 504


class FullError(ApiError):
    """The storage for what was sent is full."""

    status = 507


def without_frames(error: Kept) -> Kept:
    """Return an error that is kept, cut off from the frames it came through.

    These hold the request's body and arrays, and often the error itself: such a reference cycle is freed only when
    Python's garbage collector runs, hundreds of requests later.
    """
    cut: BaseException | None = error
    while cut is not None and cut.__traceback__ is not None:
        cut.__traceback__ = None
        cut = cut.__cause__ or cut.__context__
    return error
