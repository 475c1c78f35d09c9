"""`python -m tensor_rest run|uwsgi|nginx|key`: start the gateway or one of its two programs, or make an API key."""

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from tensor_rest import __version__
from tensor_rest.server import nginx, supervisor, uwsgi
from tensor_rest.settings import Settings, explain

_PROGRAMS = {"run": supervisor.run, "uwsgi": uwsgi.run, "nginx": nginx.run}


def main(arguments: list[str] | None = None) -> None:
    """Read the settings and run the command. Exits with a message if a setting is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tensor_rest",
        description="Start the gateway, or one of its two programs, in the foreground; TERM stops it. Or make a key.",
        epilog="Settings are read from the environment: TENSOR_REST_PORT and others, see README.md.",
    )
    parser.add_argument(
        "program",
        choices=[*_PROGRAMS, "key"],
        help="run: both programs; uwsgi: the workers (with their own HTTP if TENSOR_REST_FRONT=uwsgi); "
        "nginx: HTTP in front of them; key: print a new API key and its line for TENSOR_REST_API_KEYS_FILE",
    )
    parser.add_argument("--version", action="version", version=f"tensor-rest {__version__}")
    parser.add_argument("name", nargs="?", help="key: its name, such as the person or program that will use it")
    parsed = parser.parse_args(arguments)
    if (parsed.program == "key") != (parsed.name is not None):
        parser.error("expected key NAME, or one of run, uwsgi, nginx without a name")
    if parsed.name is not None:
        _print_key(parsed.name)
    else:
        _start(parsed.program)


def _print_key(name: str) -> None:
    from tensor_rest.middleware import api_keys  # the programs start faster without it

    try:
        key, line = api_keys.create(name)
    except ValueError as error:
        sys.exit(f"No key was made: {error}")
    sys.stderr.write(f"The key of {name}, shown this once:\n  {key}\nIts line for the file:\n")
    sys.stdout.write(f"{line}\n")


def _start(program: str) -> None:
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(f"The gateway cannot start, a setting is wrong:\n{explain(error)}")
    try:
        if program != "nginx" and settings.api_keys_file:
            _check_keys(settings.api_keys_file)
        _PROGRAMS[program](settings)
    except OSError as error:
        sys.exit(f"The gateway cannot start: {error.strerror}: {error.filename} (TENSOR_REST_RUN_DIR moves its files).")


def _check_keys(file: Path) -> None:
    from tensor_rest.middleware import api_keys

    try:
        api_keys.Keys(file)
    except ValueError as error:
        sys.exit(f"The gateway cannot start, TENSOR_REST_API_KEYS_FILE is wrong: {error}.")


if __name__ == "__main__":
    main()
