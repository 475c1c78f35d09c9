"""Sets events before, during and after waits, among threads or, with the argument greenlets, these; prints "done"."""

import sys

if sys.argv[1] == "greenlets":
    from gevent import monkey

    monkey.patch_all()

import threading
import time
from collections.abc import Callable

from tensor_rest.runtime.wakeup import one_shot_event


def played(act: Callable[[], None]) -> threading.Thread:
    done = threading.Thread(target=act)
    done.start()
    return done


def set_as_the_wait_begins() -> None:
    found: list[bool] = []
    one = one_shot_event()
    waits = played(lambda: found.append(one.wait(20)))
    one.set()
    waits.join()
    assert found == [True]


def set_after_the_wait() -> None:
    late = one_shot_event()
    began = time.monotonic()
    assert not late.wait(0.05)
    assert time.monotonic() - began >= 0.04
    assert not late.wait(-1)
    late.set()
    assert late.wait(0)  # it was passed on while nothing waited
    assert not late.wait(0)  # and is gone


def set_during_the_wait() -> None:
    found: list[bool] = []
    both = one_shot_event()

    def later() -> None:
        time.sleep(0.02)
        both.set()

    waits, other = played(lambda: found.append(both.wait(20))), played(later)
    waits.join()
    other.join()
    assert found[-1] is True


def main() -> None:
    for _ in range(200):
        set_as_the_wait_begins()
    set_after_the_wait()
    set_during_the_wait()
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
