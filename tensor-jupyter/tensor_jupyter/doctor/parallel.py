"""Several checks at the same time, each with a timeout: one that hangs is reported, and holds up no other."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Result = TypeVar("Result")


def together(
    calls: Mapping[str, Callable[[], Result]], seconds: float
) -> tuple[dict[str, Result], dict[str, Exception]]:
    """What each call returned, and what the others raised, by name; TimeoutError for those that take longer."""
    results: dict[str, Result] = {}
    errors: dict[str, Exception] = {}

    def run(name: str, call: Callable[[], Result]) -> None:
        try:
            results[name] = call()
        except Exception as error:  # noqa: BLE001 - one that fails must not take the others with it
            errors[name] = error

    # Daemons: a call that never returns does not keep the process from ending.
    threads = [threading.Thread(target=run, args=each, daemon=True) for each in calls.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    done = {**results}, {**errors}
    late = {name: TimeoutError(f"no answer in {seconds:g} s") for name in calls if name not in {*done[0], *done[1]}}
    return done[0], {**done[1], **late}
