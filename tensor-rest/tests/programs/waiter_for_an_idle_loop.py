"""Waits for an idle loop, behind requests that have come and beside greenlets that never rest, and prints "done"."""

from gevent import monkey

monkey.patch_all()

import socket  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402
from gevent.event import AsyncResult  # noqa: E402

from tensor_rest.runtime.wakeup import when_idle  # noqa: E402

Pairs = list[tuple[socket.socket, socket.socket]]


def all_that_had_come_are_served_first(pairs: Pairs) -> None:
    read: list[bytes] = []
    found = AsyncResult()

    def reader(end: socket.socket) -> None:
        read.append(end.recv(1))
        if len(read) == 1:
            when_idle(lambda: found.set(len(read)))

    readers = [gevent.spawn(reader, end) for _, end in pairs]
    gevent.sleep(0)
    for end, _ in pairs:
        end.send(b"x")
    assert found.get(timeout=20) == len(readers)


def restless(one: socket.socket, other: socket.socket) -> None:
    while True:
        one.send(b"x")
        other.recv(1)
        gevent.sleep(0)


def a_loop_that_always_has_something_to_do_calls_too(pairs: Pairs) -> None:
    players = [gevent.spawn(restless, *pair) for pair in pairs]
    late = AsyncResult()
    when_idle(lambda: late.set(True))
    assert late.get(timeout=20)
    calls: list[int] = []
    when_idle(lambda: calls.append(1))
    gevent.killall(players)
    gevent.sleep(0.02)
    assert calls == [1]


def main() -> None:
    pairs = [socket.socketpair() for _ in range(20)]
    all_that_had_come_are_served_first(pairs)
    a_loop_that_always_has_something_to_do_calls_too(pairs)
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
