"""Waiting for each other, between threads and between greenlets: woken once, in time, and never by an old call."""

import pytest
from gateway_kit import played

_SCENES = """
import threading, time
from tensor_rest.runtime.wakeup import one_shot_event

def played(act):
    done = threading.Thread(target=act)
    done.start()
    return done

for _ in range(200):
    one, found = one_shot_event(), []
    waits = played(lambda: found.append(one.wait(20)))
    one.set()
    waits.join()
    assert found == [True]

late = one_shot_event()
began = time.monotonic()
assert not late.wait(0.05) and time.monotonic() - began >= 0.04
assert not late.wait(-1)
late.set()
assert late.wait(0)  # it was passed on while nothing waited
assert not late.wait(0)  # and is gone

both = one_shot_event()
waits = played(lambda: found.append(both.wait(20)))
other = played(lambda: (time.sleep(0.02), both.set()))
waits.join(); other.join()
assert found[-1] is True
print("done")
"""


@pytest.mark.parametrize("first", ["", "from gevent import monkey; monkey.patch_all()"])
def test_an_event_wakes_its_waiter(first: str) -> None:
    assert played(first + _SCENES) == "done\n"


_KILLED = """
from gevent import monkey; monkey.patch_all()
import gevent
from tensor_rest.runtime.wakeup import one_shot_event

one = one_shot_event()
waits = gevent.spawn(one.wait, 20)
gevent.sleep(0)
one.set()
waits.kill()  # in the same turn: the wake-up that is under way must find no waiter
gevent.sleep(0.01)
again = gevent.spawn(one_shot_event().wait, 0.05)
assert again.get() is False
print("done")
"""


def test_a_greenlet_that_is_killed_is_not_woken_elsewhere() -> None:
    assert played(_KILLED) == "done\n"


_IDLE = """
from gevent import monkey; monkey.patch_all()
import socket
import gevent
from tensor_rest.runtime.wakeup import when_idle

pairs = [socket.socketpair() for _ in range(20)]
read, found = [], gevent.event.AsyncResult()

def reader(end):
    read.append(end.recv(1))
    if len(read) == 1:
        when_idle(lambda: found.set(len(read)))

readers = [gevent.spawn(reader, end) for _, end in pairs]
gevent.sleep(0)
for end, _ in pairs:
    end.send(b"x")
assert found.get(timeout=20) == 20  # all that had come by then are served first

def restless(one, other):
    while True:
        one.send(b"x")
        other.recv(1)
        gevent.sleep(0)

players = [gevent.spawn(restless, *pair) for pair in pairs]
late = gevent.event.AsyncResult()
when_idle(lambda: late.set(True))
assert late.get(timeout=20)  # though the loop always has something to do
calls = []
when_idle(lambda: calls.append(1))
gevent.killall(players)
gevent.sleep(0.02)
assert calls == [1]
print("done")
"""


def test_a_waiter_for_an_idle_loop_is_called_once_and_in_time() -> None:
    assert played(_IDLE) == "done\n"
