"""The exception for a call that failed with a gRPC status."""

import logging

from tensor_rest.backend.status import Code, RpcError
from tensor_rest.errors import (
    ApiError,
    BadGatewayError,
    BadRequestError,
    ConflictError,
    DeadlineError,
    NotFoundError,
    TooLargeError,
    TooManyRequestsError,
    UnavailableError,
)

log = logging.getLogger(__name__)

GRPC_ERRORS: dict[Code, type[ApiError]] = {
    Code.INVALID_ARGUMENT: BadRequestError,
    Code.NOT_FOUND: NotFoundError,
    Code.FAILED_PRECONDITION: ConflictError,
    Code.RESOURCE_EXHAUSTED: TooManyRequestsError,
    Code.UNAVAILABLE: UnavailableError,
    Code.CANCELLED: UnavailableError,  # by a server that shuts down; nothing else cancels these calls
    Code.DEADLINE_EXCEEDED: DeadlineError,
}
"""gRPC status to exception, hence to HTTP status; any other is a BadGatewayError."""

_TOO_LARGE = "larger than max"


def from_grpc(error: RpcError, server: str) -> ApiError:
    """Return the exception for a failed call. Only the server's messages about the request itself are passed on."""
    code, details = error.code, error.details
    if code is Code.RESOURCE_EXHAUSTED and _TOO_LARGE in details:  # of one message: in the server or here
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
