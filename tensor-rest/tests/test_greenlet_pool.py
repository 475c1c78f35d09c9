"""Greenlets that are used again: each does one thing at a time, whatever the one before came to."""

import subprocess
import sys
import urllib.request
from pathlib import Path

from gateway_kit import PROJECT, free_port, played, wait_until

_SCENES = """
import gevent
from tensor_rest.runtime import greenlet_pool

def me():
    found.append(gevent.getcurrent())

found = []
greenlet_pool.spawn(me); gevent.sleep(0)
greenlet_pool.spawn(me); gevent.sleep(0)
assert found[0] is found[1]

gate = gevent.event.Event()
held = [greenlet_pool.spawn(gate.wait) for _ in range(3)]
gevent.sleep(0)
greenlet_pool.spawn(me); gevent.sleep(0)
assert len({*held, found[2]}) == 4  # who is at work is left alone
gate.set(); gevent.sleep(0)

gevent.get_hub().handle_error = lambda who, *error: found.append(error[1])
greenlet_pool.spawn(int, "no number"); gevent.sleep(0)
assert isinstance(found[3], ValueError)
for _ in range(5):
    greenlet_pool.spawn(me)
gevent.sleep(0)
assert len(set(found[4:])) == 5 and set(found[4:]) >= {found[0], *held}  # the failed one is among them

gevent.killall(list(greenlet_pool._resting)[:2])
found.clear()
for _ in range(5):
    greenlet_pool.spawn(me)
gevent.sleep(0)
assert len(set(found)) == 5  # none is lost with those that were killed

stuck = greenlet_pool.spawn(gevent.event.Event().wait)
gevent.sleep(0)
stuck.kill(timeout=20)
assert stuck.dead
print("done")
"""


def test_a_greenlet_does_one_thing_after_the_other_and_may_fail_or_be_killed() -> None:
    assert played(_SCENES) == "done\n"


_APPLICATION = """
import gevent
import tensor_rest.wsgi

def application(environ, start_response):
    me = gevent.getcurrent()
    me.requests = getattr(me, "requests", 0) + 1
    start_response("200 OK", [])
    return [str(me.requests).encode()]
"""


def test_uwsgi_starts_the_requests_of_a_worker_with_it(tmp_path: Path) -> None:
    (tmp_path / "counts.py").write_text(_APPLICATION)
    port = free_port()
    options = ["--http-socket", f"127.0.0.1:{port}", "--gevent", "4", "--module", "counts", "--pythonpath", tmp_path]
    program = [sys.executable, "-c", "import pyuwsgi; pyuwsgi.run()", *map(str, options)]
    with subprocess.Popen(program, cwd=PROJECT, stderr=subprocess.DEVNULL) as uwsgi:
        try:
            wait_until(lambda: _ask(port))
            assert int(_ask(port)) < int(_ask(port))
        finally:
            uwsgi.kill()


def _ask(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
