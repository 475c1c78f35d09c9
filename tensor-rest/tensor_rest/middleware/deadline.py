"""How long a request may take: the client's `X-Timeout-Ms`, at most the setting."""

import re
import time
from collections.abc import Mapping

from tensor_rest.errors import BadRequestError
from tensor_rest.runtime import request_context

HEADER = "X-Timeout-Ms"


def begin(environ: Mapping[str, str], timeout_s: float) -> None:
    """Shorten the current request's deadline to what its client allows. Raises BadRequestError if it is invalid."""
    if text := environ.get("HTTP_X_TIMEOUT_MS", ""):
        request_context.begin(
            request_context.current().request_id, time.monotonic() + min(_seconds(text), timeout_s), environ
        )


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise BadRequestError(f"Invalid {HEADER} {text[:20]!r}: expected whole milliseconds, 1 or more.")
    return int(text) / 1000
