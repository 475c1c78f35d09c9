"""`python -m tensor_rest run|uwsgi|nginx`: start the gateway, or one of its two programs, as the environment says."""

import argparse
import sys

from pydantic import ValidationError

from .front import both, nginx, uwsgi
from .settings import Settings, explain

_PROGRAMS = {"run": both.run, "uwsgi": uwsgi.run, "nginx": nginx.run}


def main(arguments: list[str] | None = None) -> None:
    """Read the command and the settings, and do it. Leaves with a message if a setting is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tensor_rest",
        description="Start the gateway, or one of its two programs, in the foreground; TERM stops it.",
        epilog="Settings come from the environment: TENSOR_REST_PORT and others, see README.md.",
    )
    parser.add_argument(
        "program",
        choices=_PROGRAMS,
        help="run: both, as one; uwsgi: the workers (with HTTP of their own if TENSOR_REST_FRONT=uwsgi); "
        "nginx: HTTP in front of them",
    )
    program = parser.parse_args(arguments).program
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(f"The gateway cannot start, a setting is wrong:\n{explain(error)}")
    try:
        _PROGRAMS[program](settings)
    except OSError as error:
        sys.exit(f"The gateway cannot start: {error.strerror}: {error.filename} (TENSOR_REST_RUN_DIR moves its files).")


if __name__ == "__main__":
    main()
