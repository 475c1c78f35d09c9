"""How long a request may take: what its sender says in `X-Timeout-Ms`, at most what the setting allows."""

import re
import time

import flask

from .errors import BadRequestError
from .serving import caller
from .settings import Settings

HEADER = "X-Timeout-Ms"


def init_app(app: flask.Flask, settings: Settings) -> None:
    """Give every request a deadline, which holds for all its calls to serving together."""
    app.before_request(lambda: _begin(settings.timeout_seconds))


def _begin(longest: float) -> None:
    text = flask.request.environ.get("HTTP_X_TIMEOUT_MS", "")
    request_id = flask.g.request_id
    caller.begin(request_id, time.monotonic() + longest)  # holds for the answer to a wrong header, too
    if text:
        caller.begin(request_id, time.monotonic() + min(_seconds(text), longest))


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise BadRequestError(f"{HEADER}: {text[:20]!r} is not taken; wanted whole milliseconds, 1 or more.")
    return int(text) / 1000
