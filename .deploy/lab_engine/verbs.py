"""What every engine can do: the verbs of `bin/compose.sh`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from . import console
from .errors import EngineError

SERVICES = ("tensor-board", "tensor-jupyter", "tensor-rest", "tensor-serving")
SCALED = "tensor-serving"
"""The service of which there can be several."""

RUNNING = "the lab is running: stop it first, with bin/compose.sh down"
NOT_RUNNING = "the lab is not running; start it with: bin/compose.sh up"


class Lab(Protocol):
    """One lab, run by one engine. Each verb raises EngineError when it cannot do what it says."""

    def up(self) -> None:
        """Start the lab, wait until it is healthy, and show that it answers."""

    def down(self, remove_volumes: bool) -> None:
        """Stop the lab; with `remove_volumes` also remove models, logs, data and feedback."""

    def ps(self) -> None:
        """Show what runs: its state, since when, how often it was started again."""

    def status(self) -> int:
        """Show health, models and addresses; returns the exit code: 0 if all is healthy, else 1."""

    def restart(self, services: Sequence[str]) -> None:
        """Stop and start the services, and wait until they are healthy."""

    def scale(self, count: int) -> None:
        """Run so many model servers, while the lab answers."""

    def logs(self, services: Sequence[str], count: int, follow: bool) -> None:
        """Print the last `count` lines of each service's logs; with `follow`, go on."""

    def upgrade(self) -> None:
        """Run what this clone holds now, in place of the release before, with everything that the lab keeps."""

    def backup(self, path: Path) -> None:
        """Write models, logs, data, feedback and config to a new file."""

    def restore(self, path: Path) -> None:
        """Replace models, logs, data, feedback and config by what a backup holds. The lab is stopped."""

    def version(self) -> None:
        """Show what the lab is made of."""

    def execute(self, service: str, command: Sequence[str]) -> int:
        """Run a command with the service's environment; returns its exit code."""


def chosen(names: Sequence[str]) -> Sequence[str]:
    """The named services, all if none is named; raises EngineError with the valid names."""
    for name in names:
        if name not in SERVICES:
            raise EngineError(f"unknown service '{name}'; the services are {', '.join(SERVICES)}")
    return names or SERVICES


def check_sure(sure: bool, verb: str, what: str) -> None:
    """Raises EngineError unless the user agrees to lose `what` by the verb."""
    if sure:
        return
    if not sys.stdin.isatty():
        raise EngineError(f"{verb} removes {what}: add --yes if that is meant")
    console.say(f"This removes {what}.")
    try:
        answer = input("Type yes to go on: ")
    except EOFError:
        answer = ""
    if answer.strip() != "yes":
        raise EngineError("nothing was stopped and nothing removed")


def duration(seconds: int) -> str:
    """`12s`, `5m`, `3h20m`."""
    if seconds < 60:
        return f"{seconds}s"
    return f"{seconds // 60}m" if seconds < 3600 else f"{seconds // 3600}h{seconds % 3600 // 60}m"
