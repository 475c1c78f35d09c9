"""Runs callers of one batcher in greenlets, as its argument says; prints the rows of its calls, and 0 for an answer."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402

import gevent  # noqa: E402
import numpy as np  # noqa: E402
from gevent.event import Event  # noqa: E402

from tensor_rest.backend.batching import Batcher, Inputs, Prediction, SignatureRef, _Queue  # noqa: E402

recorded: list[int] = []
"""The rows of each call, and a 0 for each caller that has its answer."""

here = Event()
"""The calls are answered."""


class LeaderKiller(Batcher):
    """Kills the caller with most time before each batch, and before that caller learns that it leads."""

    leader: gevent.Greenlet

    def _take_batch(self, queue: _Queue) -> None:
        self.leader.kill(block=False)
        super()._take_batch(queue)


def made(kind: type[Batcher], running: int) -> Batcher:
    return kind(run, max_rows=32, max_bytes=1 << 20, running=running)


def run(_asked: SignatureRef, inputs: Inputs, _deadline: float, _ids: Sequence[str]) -> Prediction:
    recorded.append(len(inputs["x"]))
    here.wait()
    return Prediction(1, {"y": inputs["x"] + 1})


def request(batcher: Batcher, number: int, last: bool, end: socket.socket) -> None:
    end.recv(1)
    x = np.full((1, 3), number)
    if last:
        gevent.get_hub().loop.timer(0.05).start(here.set)  # late enough for callers that wait for an idle worker
    answer = batcher.predict(SignatureRef("m", None, None, "s", ()), {"x": x}, 1, time.monotonic() + 20, "")
    assert (answer.outputs["y"] == x + 1).all()
    recorded.append(0)


def arrive(batcher: Batcher, callers: int) -> list[int]:
    """All at the same time."""
    recorded.clear()
    here.clear()
    pairs = [socket.socketpair() for _ in range(callers)]
    requests = [gevent.spawn(request, batcher, n, n == callers - 1, pair[1]) for n, pair in enumerate(pairs)]
    gevent.sleep(0)
    for one, _ in pairs:
        one.send(b"x")
    for each in gevent.joinall(requests, timeout=20):
        each.get()
    assert recorded.count(0) == callers
    assert not batcher._queues
    return recorded


def groups(sizes: list[int]) -> list[list[int]]:
    """One group of callers after the other; no answers among the rows."""
    batcher = made(Batcher, running=2)
    return [[rows for rows in arrive(batcher, callers) if rows] for callers in sizes]


def turns() -> list[int]:
    batcher = made(Batcher, running=1)
    arrive(batcher, 21)
    return arrive(batcher, 20)


def killed(leader: bool) -> list[object]:
    """Three come one after the other, and the second is killed while it waits, or the third as it is to lead.

    Returns what was recorded, which callers are dead, and what the batcher still has.
    """
    batcher = made(LeaderKiller if leader else Batcher, running=1)
    pairs = [socket.socketpair() for _ in range(3)]
    first, second, third = [gevent.spawn(request, batcher, n, False, pair[1]) for n, pair in enumerate(pairs)]
    if isinstance(batcher, LeaderKiller):
        batcher.leader = third
    for one, _ in pairs:
        one.send(b"x")
        gevent.sleep(0.01)
    if not leader:
        second.kill()
    here.set()
    gevent.joinall([first, third], timeout=20)
    return [recorded, [each.dead for each in (first, second, third)], [*batcher._queues]]


def main(scene: str, *sizes: str) -> None:
    found: object
    if scene == "groups":
        found = groups([int(size) for size in sizes])
    elif scene == "turns":
        found = turns()
    else:
        found = killed(leader={"killed": False, "leader-killed": True}[scene])
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
