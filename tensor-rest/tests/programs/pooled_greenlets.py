"""Spawns greenlets of the pool that rest, work, fail and are killed, checks which are used again, and prints "done"."""

import sys

import gevent
from gevent.event import Event

from tensor_rest.runtime import greenlet_pool

found: list[object] = []
"""Greenlets that were at work, and an error, in their order."""


def me() -> None:
    found.append(gevent.getcurrent())


def five_at_once() -> None:
    for _ in range(5):
        greenlet_pool.spawn(me)
    gevent.sleep(0)


def one_after_the_other() -> None:
    for _ in range(2):
        greenlet_pool.spawn(me)
        gevent.sleep(0)
    assert found[0] is found[1]


def who_is_at_work_is_left_alone() -> list[gevent.Greenlet]:
    gate = Event()
    held = [greenlet_pool.spawn(gate.wait) for _ in range(3)]
    gevent.sleep(0)
    greenlet_pool.spawn(me)
    gevent.sleep(0)
    assert len({*held, found[2]}) == 4
    gate.set()
    gevent.sleep(0)
    return held


def the_failed_one_is_used_again(held: list[gevent.Greenlet]) -> None:
    gevent.get_hub().handle_error = lambda _, *error: found.append(error[1])
    greenlet_pool.spawn(int, "no number")
    gevent.sleep(0)
    assert isinstance(found[3], ValueError)
    five_at_once()
    assert len(set(found[4:])) == 5
    assert set(found[4:]) >= {found[0], *held}


def none_is_lost_with_those_that_were_killed() -> None:
    gevent.killall(list(greenlet_pool._idle)[:2])
    found.clear()
    five_at_once()
    assert len(set(found)) == 5


def one_at_work_can_be_killed() -> None:
    stuck = greenlet_pool.spawn(Event().wait)
    gevent.sleep(0)
    stuck.kill(timeout=20)
    assert stuck.dead


def main() -> None:
    one_after_the_other()
    held = who_is_at_work_is_left_alone()
    the_failed_one_is_used_again(held)
    none_is_lost_with_those_that_were_killed()
    one_at_work_can_be_killed()
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
