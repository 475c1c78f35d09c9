"""TensorBoard, as the lab runs it: python serve.py FLAG... takes TensorBoard's own flags, among them --port.

TensorBoard has the event files read by its data server, a child process. When that is lost or hangs, TensorBoard goes
on and answers 500 wherever runs are wanted. Here it ends as well, so that what started it starts both again.
"""

import argparse
import http.client
import os
import sys
import threading
import time

_PAUSE_SECONDS = 2.0
_PROBE_SECONDS = 4.0  # on a machine that trains an answer may come late
_PROBES = 4  # without an answer, in a row


def main() -> None:
    """Run until a signal, or until the runs can no longer be had."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--port", type=int, default=6006)
    port = parser.parse_known_args()[0].port
    # Imported where it is installed, it takes seconds and 500 MB; event files are read without.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    from tensorboard.main import run_main

    threading.Thread(target=_watch, args=(port,), daemon=True).start()
    run_main()


def _watch(port: int) -> None:
    """End this process when it has shown runs once, and does so no more."""
    answered, failures = False, 0
    while failures < _PROBES:
        time.sleep(_PAUSE_SECONDS)
        if _shows_runs(port):
            answered, failures = True, 0
        elif answered:
            failures += 1
    sys.stderr.write("TensorBoard's data server does not answer: ended, to be started again\n")
    os._exit(1)


def _shows_runs(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", "/data/runs")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()
