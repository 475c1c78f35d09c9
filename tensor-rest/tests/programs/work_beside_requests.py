"""Runs long work beside another greenlet, then work that fails; prints the order in which they ended, and the error."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402

from tensor_rest.runtime import offload  # noqa: E402

steps: list[str] = []
here, there = os.pipe()
select = monkey.get_original("select", "select")  # holds up the thread that waits


def long() -> int:
    select([here], [], [], 20)
    steps.append("long")
    return 7


def other() -> None:
    steps.append("other")
    os.write(there, b"go")


def broken() -> None:
    raise ValueError("broken image")


def main() -> None:
    running = gevent.spawn(offload.run, long)
    gevent.spawn_later(0.01, other)
    assert running.get() == 7
    try:
        offload.run(broken)
    except ValueError as error:
        sys.stdout.write(f"{steps} {error}\n")


if __name__ == "__main__":
    main()
