"""The id that follows a request through log lines, headers and error answers."""

import re
import uuid

PATTERN = r"[A-Za-z0-9._-]{1,64}"
"""What a caller's X-Request-Id may be: it is written to logs. nginx applies the same pattern."""


ENVIRON = "tensor_rest.runtime.request_id"
"""Where a request's WSGI environment has it."""


def checked(given: str) -> str:
    """The caller's id if it is harmless, else a fresh one."""
    return given if re.fullmatch(PATTERN, given) else uuid.uuid4().hex
