"""A WSGI response, for code that answers without Flask."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}

JSON = "application/json"


class Reply(NamedTuple):
    """Status, header fields without the length, and body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def send(self, environ: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        """Send the response. A HEAD request gets no body, and 204 no length (RFC 9110, 8.6)."""
        length = [] if self.status == HTTPStatus.NO_CONTENT else [("Content-Length", str(len(self.body)))]
        start_response(_LINES[self.status], [*self.headers, *length])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else self.body]
