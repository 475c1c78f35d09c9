"""Runs long CPU work in a real thread, so that the worker can continue with its other requests.

A uWSGI worker runs its requests as gevent's greenlets, which switch only where they wait. Decoding a large image does
not wait, but it releases Python's GIL: in another thread it does not block the worker's other requests.
"""

from collections.abc import Callable
from typing import TypeVar

import gevent
from gevent import monkey

Result = TypeVar("Result")


def run(work: Callable[..., Result], *given: object) -> Result:
    """Run `work` in a real thread. Returns its result, or raises its error.

    `work` must not wait for anything that requests of this worker share, such as a lock.
    """
    if not monkey.is_module_patched("threading"):
        return work(*given)  # every request has a thread of its own already
    results: list[Result]
    results, error = gevent.get_hub().threadpool.apply(_outcome, (work, given))
    if error is not None:
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame
    (result,) = results
    return result


def _outcome(work: Callable[..., Result], given: tuple[object, ...]) -> tuple[list[Result], Exception | None]:
    """Return the result or the error: if it were raised here, gevent would log its traceback."""
    try:
        return [work(*given)], None
    except Exception as error:  # noqa: BLE001 - raised in the waiting greenlet
        return [], error
