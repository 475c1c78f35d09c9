"""The verbs of `bin/compose.sh`, which every engine implements."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from . import console
from .errors import EngineError
from .settings import ROOT


def service_of(folder: Path) -> str:
    """Return the name of the folder's service: its own, but the model server's folder has the suffix -gpu."""
    return folder.name.removesuffix("-gpu")


SERVICES = tuple(sorted(service_of(check.parent) for check in ROOT.glob("tensor-*/healthcheck.py")))
"""The compose file's names."""

SCALED = "tensor-serving"
"""The only service that can be scaled."""

RUNNING = "the lab is running: stop it first, with bin/compose.sh down"
NOT_RUNNING = "the lab is not running; start it with: bin/compose.sh up"


class Lab(Protocol):
    """One lab, run by one engine. Each verb raises EngineError when it fails."""

    def up(self) -> None:
        """Start the lab, wait until it is healthy, and show the answer to a sample request."""

    def down(self, remove_volumes: bool) -> None:
        """Stop the lab; with `remove_volumes` also remove models, logs, data and feedback."""

    def ps(self) -> None:
        """Show the running processes or containers: state, uptime, number of restarts."""

    def status(self) -> int:
        """Show health, models and addresses; returns the exit code: 0 if all is healthy, else 1."""

    def restart(self, services: Sequence[str]) -> None:
        """Stop and start the services, and wait until they are healthy."""

    def scale(self, count: int) -> None:
        """Run `count` model servers, without interrupting the lab."""

    def logs(self, services: Sequence[str], count: int, follow: bool) -> None:
        """Print the last `count` lines of each service's logs; with `follow`, continue."""

    def upgrade(self) -> None:
        """Run this clone's current release instead of the previous one; the lab's data stay."""

    def backup(self, path: Path) -> None:
        """Write models, logs, data, feedback, config and notebooks to a new file."""

    def restore(self, path: Path) -> None:
        """Replace models, logs, data, feedback, config and notebooks by those of a backup. The lab must be stopped."""

    def version(self) -> None:
        """Show the release and state of the lab's packages or images."""

    def execute(self, service: str, command: Sequence[str]) -> int:
        """Run a command with the service's environment; returns its exit code."""


def chosen(names: Sequence[str]) -> Sequence[str]:
    """Return the named services, all if none is named; raises EngineError, with the valid names, for an unknown one."""
    for name in names:
        if name not in SERVICES:
            raise EngineError(f"unknown service '{name}'; the services are {', '.join(SERVICES)}")
    return names or SERVICES


def confirm(sure: bool, what: str) -> None:
    """Raise EngineError unless the user agrees to what the verb will do."""
    if sure:
        return
    if not sys.stdin.isatty():
        raise EngineError(f"this would {what}: add --yes if that is meant")
    console.say(f"This will {what}.")
    try:
        answer = input("Type yes to go on: ")
    except EOFError:
        answer = ""
    if answer.strip() != "yes":
        raise EngineError("nothing was changed")


def at_least(lowest: int) -> Callable[[str], int]:
    """Return the type of a command line's option that is a whole number from `lowest` on."""

    def number(text: str) -> int:
        if text.isascii() and text.isdigit() and int(text) >= lowest:
            return int(text)
        raise argparse.ArgumentTypeError(f"invalid value {text!r} (expected a whole number >= {lowest})")

    return number


def duration(seconds: int) -> str:
    """`12s`, `5m`, `3h20m`."""
    if seconds < 60:
        return f"{seconds}s"
    return f"{seconds // 60}m" if seconds < 3600 else f"{seconds // 3600}h{seconds % 3600 // 60}m"
