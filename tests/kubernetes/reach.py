"""`python -m tests.kubernetes.reach NAME=HOST:PORT...`: prints the names of those that accept a connection, as JSON.

A program of its own, since it runs in a pod's network.
"""

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

_SECONDS = 2.0


def main() -> None:
    targets = dict(each.split("=") for each in sys.argv[1:])
    with ThreadPoolExecutor(len(targets)) as pool:
        accepted = pool.map(_accepts, targets.values())
        json.dump([name for name, taken in zip(targets, accepted, strict=True) if taken], sys.stdout)


def _accepts(target: str) -> bool:
    host, port = target.split(":")
    try:
        socket.create_connection((host, int(port)), _SECONDS).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
