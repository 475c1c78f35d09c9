"""Greenlets that are used again: each does one thing at a time, whatever the one before came to."""

import subprocess
import sys
import urllib.request

from gateway_kit import PROGRAMS, PROJECT, free_port, played, wait_until


def test_a_greenlet_does_one_thing_after_the_other_and_may_fail_or_be_killed() -> None:
    assert played("pooled_greenlets.py") == "done\n"


def test_uwsgi_starts_the_requests_of_a_worker_with_it() -> None:
    port = free_port()
    application = ["--module", "requests_of_a_greenlet", "--pythonpath", str(PROGRAMS)]
    options = ["--http-socket", f"127.0.0.1:{port}", "--gevent", "4", *application]
    program = [sys.executable, "-c", "import pyuwsgi; pyuwsgi.run()", *options]
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
