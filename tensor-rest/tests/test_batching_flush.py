"""Who leaves with whom when many come at the same time, in a worker of greenlets."""

import json

from gateway_kit import played

_PROGRAM = "batching_in_greenlets.py"


def groups(*sizes: int) -> list[list[int]]:
    """How many rows each call had, for one group of callers after the other; calls are answered when all have come."""
    found: list[list[int]] = json.loads(played(_PROGRAM, "groups", *map(str, sizes)))
    return found


def test_an_idle_worker_sends_requests_that_are_here_already_in_one_call() -> None:
    """The open requests of before count: the first of a new group is not sent ahead of it."""
    assert groups(1, 20, 8, 1, 1) == [[1], [1, 1, 18], [8], [1], [1]]


def test_half_of_the_open_requests_does_not_wait_for_the_other_half() -> None:
    assert groups(20, 20, 70) == [[1, 1, 18], [9, 9, 2], [1, 1, 32, 32, 4]]


def test_half_of_the_open_requests_leaves_before_the_worker_turns_to_those_who_have_their_answers() -> None:
    """The one who made the call is the worker's already."""
    recorded = json.loads(played(_PROGRAM, "turns"))
    assert recorded == [10, 0, 10, *[0] * 19]


def test_who_is_killed_while_he_waits_leaves_no_gap() -> None:
    recorded = json.loads(played(_PROGRAM, "killed"))
    assert recorded == [[1, 0, 1, 0], [True, True, True], []]


def test_a_leader_who_is_killed_before_his_call_leaves_it_to_the_others() -> None:
    recorded = json.loads(played(_PROGRAM, "leader-killed"))
    assert recorded == [[1, 0, 1, 0], [True, True, True], []]
