"""An application for uWSGI that answers how many requests the greenlet of this one has had; it prints nothing."""

from collections.abc import Callable, Iterable
from typing import Any

import gevent

import tensor_rest.wsgi  # noqa: F401 - has uWSGI start its greenlets in our pool


def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    me = gevent.getcurrent()
    me.requests = getattr(me, "requests", 0) + 1
    start_response("200 OK", [])
    return [str(me.requests).encode()]
