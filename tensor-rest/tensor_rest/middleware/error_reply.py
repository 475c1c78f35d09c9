"""The response to a request that failed, for every route.

It is `{"message", "code", "request_id"}` with `code` = HTTP status; under /v1 TensorFlow Serving's `{"error"}`.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from tensor_rest.errors import ApiError
from tensor_rest.runtime import request_id
from tensor_rest.runtime.reply import JSON, Reply

log = logging.getLogger(__name__)


def error_reply(error: Exception, environ: Mapping[str, Any]) -> Reply:
    """Return the response to the request in `environ`. An unexpected error is logged, and answered with 500."""
    if isinstance(error, ApiError):
        again = [("Retry-After", str(error.retry_after))] if error.retry_after is not None else []
        return message_reply(environ, error.status, str(error), *again, *error.headers.items())
    log.error("request %s failed", environ.get(request_id.ENVIRON), exc_info=error)
    return message_reply(
        environ, 500, "The gateway failed on this request; its log has the reason under the request id."
    )


def message_reply(environ: Mapping[str, Any], status: int, message: str, *headers: tuple[str, str]) -> Reply:
    """Return an answer with this status and message, in the form that clients of the path read."""
    if environ["PATH_INFO"].startswith("/v1/"):  # TensorFlow Serving's own paths; its clients read "error"
        document: dict[str, Any] = {"error": message}
    else:
        document = {"message": message, "code": status, "request_id": environ.get(request_id.ENVIRON, "")}
    return Reply(status, [("Content-Type", JSON), *headers], json.dumps(document).encode())
