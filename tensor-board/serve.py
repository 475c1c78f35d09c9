"""Run TensorBoard: python serve.py FLAG... takes TensorBoard's own flags, such as --port.

TensorBoard's data server, a child process, reads the event files. When it ends or hangs, TensorBoard itself keeps
running and answers 500 to requests for runs. This process then exits, so that its supervisor starts both again.
"""

import argparse
import http.client
import os
import sys
import threading
import time

_PAUSE_SECONDS = 2.0
_PROBE_SECONDS = 4.0  # long, as answers are slow on a machine that trains
_MAX_FAILURES = 4  # of probes in a row, after which this process exits


def main() -> None:
    """Run until a signal, or until the data server no longer answers."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=6006)
    parser.add_argument("--path_prefix", default="")
    given = parser.parse_known_args()[0]
    sys.argv.append(f"--port={given.port}")  # without it TensorBoard takes the next port if its own is taken
    # Where TensorFlow is installed, its import takes seconds and 500 MB; event files can be read without it.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    from tensorboard.main import run_main

    threading.Thread(target=_watch, args=(given,), daemon=True).start()
    run_main()


def _watch(given: argparse.Namespace) -> None:
    """Exit when this process has answered a request for runs, and later fails several of them in a row."""
    answered, failures = False, 0
    while failures < _MAX_FAILURES:
        time.sleep(_PAUSE_SECONDS)
        if _shows_runs(given):
            answered, failures = True, 0
        elif answered:
            failures += 1
    sys.stderr.write("TensorBoard's data server does not answer: exiting, so that both are started again\n")
    os._exit(1)


def _shows_runs(given: argparse.Namespace) -> bool:
    connection = http.client.HTTPConnection(given.host, given.port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", f"{given.path_prefix.rstrip('/')}/data/runs")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()
