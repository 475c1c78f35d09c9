"""Long work under gevent: the worker's other requests go on, and an error is raised where the work was started."""

import pytest
from gateway_kit import played

from tensor_rest.runtime import offload

_WORKER = """
from gevent import monkey
monkey.patch_all()
import gevent, os
from tensor_rest.runtime import offload

steps, (here, there) = [], os.pipe()
select = monkey.get_original("select", "select")  # holds up the thread that waits

def long():
    select([here], [], [], 20)
    steps.append("long")
    return 7

def other():
    steps.append("other")
    os.write(there, b"go")

def broken():
    raise ValueError("broken image")

running = gevent.spawn(offload.run, long)
gevent.spawn_later(0.01, other)
assert running.get() == 7
try:
    offload.run(broken)
except ValueError as error:
    print(steps, error)
"""


def test_a_request_that_computes_is_in_nobodys_way() -> None:
    assert played(_WORKER) == "['other', 'long'] broken image\n"


def test_without_gevent_it_is_a_mere_call() -> None:
    assert offload.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        offload.run(divmod, 7, 0)
