"""Shared by all commands: two consoles, and errors in one line.

with errors_in_one_line():
    out.print("answers")      # stdout
    err.print("progress")     # stderr
"""

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from typing import NoReturn

import typer
from rich.console import Console

from tensor_jupyter.errors import LabError
from tensor_jupyter.typed import LAB

out = Console(soft_wrap=True, highlight=False, markup=False)
"""Answers, to stdout."""

err = Console(soft_wrap=True, highlight=False, markup=False, stderr=True)
"""Progress and errors, to stderr."""

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def errors_in_one_line(code: int = 1) -> Iterator[None]:
    """Print an error as one line on stderr and exit with this code; after Ctrl-C with 130."""
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):  # Typer's own exits, with their exit codes
        raise
    except LabError as error:
        fail(str(error), code)
    except BrokenPipeError:  # `lab ... | head`: the reader has ended, which is not a failure
        sys.stdout = None  # else Python reports an error when it closes stdout
        sys.exit(0)
    except OSError as error:  # a full disk, a folder that may not be written
        fail(f"{error.strerror}: {error.filename}" if error.filename else str(error), code)
    except KeyboardInterrupt:
        fail("stopped", 130)
    except Exception as error:  # noqa: BLE001 - TensorFlow's errors, such as for a full disk, have no base class
        _log.debug("%s", error, exc_info=True)
        first = (str(error).splitlines() or [""])[0]
        fail(f"{type(error).__name__}: {first} ({LAB} --verbose shows where)", code)


def fail(message: str, code: int = 1) -> NoReturn:
    """Print one line on stderr, and exit."""
    err.print(f"lab: {message}")
    sys.exit(code)


def check_sure(sure: bool, what: str) -> None:
    """Raise LabError unless the user agrees, at a prompt, that `what` is deleted."""
    if sure:
        return
    if not sys.stdin.isatty():
        raise LabError(f"This deletes {what}: add --yes if that is meant.")
    if not typer.confirm(f"Delete {what}?"):
        raise LabError("nothing was deleted.")


def print_json(answer: object) -> None:
    """Print the answer of a command with `--json`: one document on stdout."""
    sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False, default=str) + "\n")
