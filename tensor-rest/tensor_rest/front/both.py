"""nginx and uWSGI as one: they start together, are stopped together, and neither goes on without the other."""

import os
import signal
import subprocess
import sys
from types import FrameType

from ..settings import Settings

PATIENCE = 8
"""Seconds to stop in, once told; then it is the hard way. Docker's own patience ends after 10."""


def run(settings: Settings) -> None:
    """Run until TERM or Ctrl-C, and then leave with 0; leave with 1 if a program ends by itself."""
    fronts = ["uwsgi"] if settings.front == "uwsgi" else ["uwsgi", "nginx"]
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    programs = {name: _start(name) for name in fronts}
    try:
        ended = _wait(programs)
    finally:
        _stop(programs)
    if ended:
        sys.exit(f"{ended} ended by itself ({_how(programs[ended])}), so the gateway stops; whoever keeps it, starts it again.")
