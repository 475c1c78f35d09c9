"""The id of a request in log lines, headers and error responses."""

import re
import uuid

PATTERN = r"[A-Za-z0-9._-]{1,64}"
"""Valid ids in a caller's X-Request-Id, which is written to logs. nginx applies the same pattern."""


ENVIRON = "tensor_rest.runtime.request_id"
"""Key of the id in a request's WSGI environment."""


def checked(given: str) -> str:
    """Return the caller's id if it is valid, else a new one."""
    return given if re.fullmatch(PATTERN, given) else uuid.uuid4().hex
