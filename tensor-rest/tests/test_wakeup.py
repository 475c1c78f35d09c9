"""Waiting for each other, between threads and between greenlets: woken once, in time, and never by an old call."""

import pytest
from gateway_kit import played


@pytest.mark.parametrize("kind", ["threads", "greenlets"])
def test_an_event_wakes_its_waiter(kind: str) -> None:
    assert played("event_wakes_waiter.py", kind) == "done\n"


def test_a_greenlet_that_is_killed_is_not_woken_elsewhere() -> None:
    assert played("killed_waiter.py") == "done\n"


def test_a_waiter_for_an_idle_loop_is_called_once_and_in_time() -> None:
    assert played("waiter_for_an_idle_loop.py") == "done\n"
