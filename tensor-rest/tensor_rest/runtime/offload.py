"""Work of more than a moment, in a real thread: meanwhile the worker goes on with its other requests.

A worker of uWSGI runs its requests as gevent's greenlets, which give way to each other only where they wait. Decoding a
large image does not wait, but it releases Python's lock: in another thread than the worker's it blocks no request.
"""

from collections.abc import Callable
from typing import TypeVar

import gevent
from gevent import monkey

Result = TypeVar("Result")


def run(work: Callable[..., Result], *given: object) -> Result:
    """What `work` returns or raises. It must not wait for anything the worker's requests share, such as a lock."""
    if not monkey.is_module_patched("threading"):
        return work(*given)  # every request has a thread of its own already
    results, error = gevent.get_hub().threadpool.apply(_outcome, (work, given))
    if error is not None:
        try:
            raise error
        finally:
            del error  # its traceback has this frame
    (result,) = results
    return result


def _outcome(work: Callable[..., Result], given: tuple[object, ...]) -> tuple[list[Result], Exception | None]:
    """The result or the error: gevent would write the traceback of one that is raised to the log."""
    try:
        return [work(*given)], None
    except Exception as error:  # noqa: BLE001 - raised in the waiting greenlet
        return [], error
