"""Kills a greenlet whose event was just set, has another one wait in vain for another event, and prints "done"."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

import gevent  # noqa: E402

from tensor_rest.runtime.wakeup import one_shot_event  # noqa: E402


def main() -> None:
    one = one_shot_event()
    waits = gevent.spawn(one.wait, 20)
    gevent.sleep(0)
    one.set()
    waits.kill()  # in the same turn: the wake-up that is under way must find no waiter
    gevent.sleep(0.01)
    again = gevent.spawn(one_shot_event().wait, 0.05)
    assert again.get() is False
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
