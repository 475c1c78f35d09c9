"""Run several checks in parallel with a timeout: one that hangs is reported, and does not delay the others."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Result = TypeVar("Result")


def together(
    calls: Mapping[str, Callable[[], Result]], seconds: float
) -> tuple[dict[str, Result], dict[str, Exception]]:
    """The results of the calls that returned, and the errors of the others, by name; TimeoutError after `seconds`."""
    results: dict[str, Result] = {}
    errors: dict[str, Exception] = {}

    def run(name: str, call: Callable[[], Result]) -> None:
        try:
            results[name] = call()
        except Exception as error:  # noqa: BLE001 - one that fails must not affect the others
            errors[name] = error

    # Daemon threads: a call that never returns does not keep the process from exiting.
    threads = [threading.Thread(target=run, args=each, daemon=True) for each in calls.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    done = {**results}, {**errors}
    late = {name: TimeoutError(f"no answer in {seconds:g} s") for name in calls if name not in {*done[0], *done[1]}}
    return done[0], {**done[1], **late}
