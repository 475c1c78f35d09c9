"""Everything that can go wrong, each exception with its HTTP status, and the one place that turns it into an answer.

The answer is `{"message", "code", "request_id"}` with `code` = HTTP status; under /v1 TensorFlow Serving's `{"error"}`.
"""

import json
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from . import request_id
from .reply import JSON, Reply
from .wire.status import Code, RpcError

log = logging.getLogger(__name__)


class ApiError(Exception):
    """What a client is told: message, status, after how many seconds trying again makes sense, further headers."""

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
    """Asked under a name that is not ours."""

    status = 421


class TooManyRequestsError(ApiError):
    """Serving has no room for this call now."""

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
    """There is no room left to keep what was sent."""

    status = 507


GRPC_ERRORS: dict[Code, type[ApiError]] = {
    Code.INVALID_ARGUMENT: BadRequestError,
    Code.NOT_FOUND: NotFoundError,
    Code.FAILED_PRECONDITION: ConflictError,
    Code.RESOURCE_EXHAUSTED: TooManyRequestsError,
    Code.UNAVAILABLE: UnavailableError,
    Code.CANCELLED: UnavailableError,  # by a server that is going; nobody else cancels our calls
    Code.DEADLINE_EXCEEDED: DeadlineError,
}
"""gRPC status to exception, hence to HTTP status; any other is a BadGatewayError."""

_TOO_LARGE = "larger than max"

_HTTP_MESSAGES = {
    400: "The request could not be read.",
    404: "Nothing is served at this path; /tf/ lists the routes.",
    413: "The request body is too large; at most {limit} bytes are taken.",
}
_FORM_MESSAGE = (
    "The form is too large: at most {parts:,} parts are taken, and {fields:,} bytes of a field that is no file. "
    "Many pictures travel better as a zip."
)


def from_grpc(error: RpcError, server: str) -> ApiError:
    """The exception for a failed call. What serving says about the request is passed on, its inner troubles are not."""
    code, details = error.code, error.details
    if code is Code.RESOURCE_EXHAUSTED and _TOO_LARGE in details:  # said of one message, by the server's gRPC or ours
        return TooLargeError(f"Too much for one call of the model server, send fewer rows at once: {details}.")
    kind = GRPC_ERRORS.get(code, BadGatewayError)
    if kind in (BadRequestError, NotFoundError, ConflictError):
        return kind(details)
    log.warning("model server %s: %s: %s", server, code.name, details)
    messages = {
        UnavailableError: "The model server does not answer; it may be starting.",
        TooManyRequestsError: "The model server has too many requests at once.",
        DeadlineError: "The model server did not answer in time.",
    }
    return kind(messages.get(kind, f"The model server failed ({code.name})."))


def reply(error: Exception, environ: Mapping[str, Any]) -> Reply:
    """What the sender of the request in `environ` is told. An error that nobody foresaw is logged, and told as 500."""
    if isinstance(error, ApiError):
        again = [("Retry-After", str(error.retry_after))] if error.retry_after is not None else []
        return _reply(environ, error.status, str(error), *again, *error.headers.items())
    log.error("request %s failed", environ.get(request_id.ENVIRON), exc_info=error)
    return _reply(environ, 500, "The gateway failed on this request; its log has the reason under the request id.")


def init_app(app: flask.Flask) -> None:
    """Let every error of the app, expected or not, answer in the one shape."""
    app.register_error_handler(Exception, _answer)


def _answer(error: Exception) -> flask.Response:
    environ = flask.request.environ
    if isinstance(error, HTTPException) and error.code:
        found = _reply(environ, error.code, _http_message(error))
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            found.headers.append(("Allow", ", ".join(sorted(error.valid_methods))))
    else:
        found = reply(error, environ)
    return flask.Response(found.body, found.status, found.headers)


def _http_message(error: HTTPException) -> str:
    if isinstance(error, MethodNotAllowed):
        return f"{flask.request.method} is not allowed here; allowed: {', '.join(sorted(error.valid_methods or []))}."
    request = flask.request
    if isinstance(error, RequestEntityTooLarge) and (request.content_length or 0) <= (request.max_content_length or 0):
        return _FORM_MESSAGE.format(parts=request.max_form_parts, fields=request.max_form_memory_size)
    text = _HTTP_MESSAGES.get(error.code or 0, error.description or error.name)
    return text.format(limit=flask.current_app.config["MAX_CONTENT_LENGTH"])


def _reply(environ: Mapping[str, Any], status: int, message: str, *headers: tuple[str, str]) -> Reply:
    if environ["PATH_INFO"].startswith("/v1/"):  # TensorFlow Serving's own paths; its clients read "error"
        document: dict[str, Any] = {"error": message}
    else:
        document = {"message": message, "code": status, "request_id": environ.get(request_id.ENVIRON, "")}
    return Reply(status, [("Content-Type", JSON), *headers], json.dumps(document).encode())
