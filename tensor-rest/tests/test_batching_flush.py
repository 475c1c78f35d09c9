"""Who leaves with whom when many come at the same time, in a worker of greenlets."""

import json

from gateway_kit import played

_WORKER = """
from gevent import monkey; monkey.patch_all()
import socket, time
import gevent
import numpy as np
from gevent.event import Event
from tensor_rest.backend.batching import SignatureRef, Batcher, Prediction

told, here = [], Event()  # of each call its rows, of each caller who has his answer a 0

def run(asked, inputs, deadline, ids):
    told.append(len(inputs["x"]))
    here.wait()
    return Prediction(1, {"y": inputs["x"] + 1})

def request(batcher, number, last, end):
    end.recv(1)
    x = np.full((1, 3), number)
    if last:
        gevent.get_hub().loop.timer(0.05).start(here.set)  # late enough for who waits for an idle worker
    answer = batcher.predict(SignatureRef("m", None, None, "s", ()), {"x": x}, 1, time.monotonic() + 20, "")
    assert (answer.outputs["y"] == x + 1).all()
    told.append(0)

def arrive(batcher, callers):
    told.clear()
    here.clear()
    pairs = [socket.socketpair() for _ in range(callers)]
    requests = [gevent.spawn(request, batcher, n, n == callers - 1, pair[1]) for n, pair in enumerate(pairs)]
    gevent.sleep(0)
    for one, _ in pairs:
        one.send(b"x")
    for each in gevent.joinall(requests, timeout=20):
        each.get()
    assert told.count(0) == callers and not batcher._queues
    return told

def calls(*sizes):
    batcher = Batcher(run, max_rows=32, max_bytes=1 << 20, running=2)
    return [[rows for rows in arrive(batcher, callers) if rows] for callers in sizes]
"""


def groups(*sizes: int) -> list[list[int]]:
    """How many rows each call had, for one group of callers after the other; calls are answered when all have come."""
    found: list[list[int]] = json.loads(played(f"{_WORKER}\nprint(calls{sizes})"))
    return found


def test_an_idle_worker_sends_requests_that_are_here_already_in_one_call() -> None:
    """The open requests of before count: the first of a new group is not sent ahead of it."""
    assert groups(1, 20, 8, 1, 1) == [[1], [1, 1, 18], [8], [1], [1]]


def test_half_of_the_open_requests_does_not_wait_for_the_other_half() -> None:
    assert groups(20, 20, 70) == [[1, 1, 18], [9, 9, 2], [1, 1, 32, 32, 4]]


def test_half_of_the_open_requests_leaves_before_the_worker_turns_to_those_who_have_their_answers() -> None:
    """The one who made the call is the worker's already."""
    batcher = "Batcher(run, max_rows=32, max_bytes=1 << 20, running=1)"
    told = json.loads(played(f"{_WORKER}\nb = {batcher}; arrive(b, 21); print(arrive(b, 20))"))
    assert told == [10, 0, 10, *[0] * 19]


_KILLED = """
import json
pairs = [socket.socketpair() for _ in range(3)]
first, second, third = [gevent.spawn(request, b, n, False, pair[1]) for n, pair in enumerate(pairs)]
for (one, _) in pairs:
    one.send(b"x")
    gevent.sleep(0.01)
second.kill()
here.set()
gevent.joinall([first, third], timeout=20)
print(json.dumps([told, [r.dead for r in (first, second, third)], [*b._queues]]))
"""


def test_who_is_killed_while_he_waits_leaves_no_gap() -> None:
    batcher = "b = Batcher(run, max_rows=32, max_bytes=1 << 20, running=1)"
    told = json.loads(played(f"{_WORKER}\n{batcher}\n{_KILLED}"))
    assert told == [[1, 0, 1, 0], [True, True, True], []]


def test_a_leader_who_is_killed_before_his_call_leaves_it_to_the_others() -> None:
    batcher = """
class Murderous(Batcher):
    def _take_batch(self, queue):
        third.kill(block=False)  # the one with most time; he hears of it before he hears that he leads
        super()._take_batch(queue)
b = Murderous(run, max_rows=32, max_bytes=1 << 20, running=1)
"""
    told = json.loads(played(f"{_WORKER}\n{batcher}\n{_KILLED.replace('second.kill()', '')}"))
    assert told == [[1, 0, 1, 0], [True, True, True], []]
