"""A pool of reusable greenlets. uWSGI starts a greenlet for each request.

Creating a new one each time took a twelfth of a busy worker's time: it allocates memory for its Python frames from the
system, and frees it when it ends.
"""

import sys
from collections.abc import Callable
from typing import Any

import gevent

_CONTROL = "uwsgi_gevent_ctrl_gl_handler"
"""The function of uWSGI's own first greenlet, which is not pooled: uWSGI waits for its end when the worker exits."""

_idle: list[gevent.Greenlet] = []


def spawn(act: Callable[..., Any], *given: Any) -> gevent.Greenlet:
    """Schedule a call of `act` with the arguments `given` in its own greenlet, as `gevent.spawn` does.

    The greenlet continues to exist after the call: it can be killed, but not waited for.
    """
    if act.__name__ == _CONTROL:
        return gevent.Greenlet.spawn(act, *given)
    while _idle:
        greenlet = _idle.pop()
        if not greenlet.dead:
            gevent.get_hub().loop.run_callback(greenlet.switch, (act, given))
            return greenlet
    return gevent.Greenlet.spawn(_work, act, given)


def _work(act: Callable[..., Any], given: tuple[Any, ...]) -> None:
    me, hub = gevent.getcurrent(), gevent.get_hub()
    while True:
        try:
            act(*given)
        except Exception:  # noqa: BLE001 - logged, as gevent does it
            hub.handle_error(me, *sys.exc_info())
        del act, given  # a waiting greenlet holds no references
        _idle.append(me)
        act, given = hub.switch()
