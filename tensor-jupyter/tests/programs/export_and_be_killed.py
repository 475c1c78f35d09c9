"""`FOLDER`: forks an exporter for each moment of an export, kills it there, and prints whether that ended it."""

import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from tests.programs.small_export import export

from tensor_jupyter.publishing import export as exporting
from tensor_jupyter.publishing import registry, release_gate, staging

MOMENTS: tuple[tuple[ModuleType | type, str, bool], ...] = (
    (exporting, "write", False),
    (exporting, "write", True),
    (exporting, "write_golden_samples", False),
    (exporting, "write_golden_samples", True),
    (exporting, "check", False),
    (staging, "_make_readable", True),
    (staging, "_sync", True),
    (staging, "_renamed", False),
    (staging, "_renamed", True),
    (staging, "_sync_folder", True),
    (release_gate, "check_version", False),
    (registry.Registry, "store_report", False),
)
"""A function, by its owner and name, and whether the exporter is killed after it or before."""


def kill_at(owner: ModuleType | type, name: str, after: bool) -> None:
    real = getattr(owner, name)

    def deadly(*words: Any, **more: Any) -> None:
        if after:
            real(*words, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, deadly)


def main() -> None:
    for owner, name, after in MOMENTS:
        root = Path(sys.argv[1]) / f"{name}-{'after' if after else 'before'}"
        if not os.fork():
            # The check is a process of its own, and would take seconds each time.
            with mock.patch.object(exporting, "check", return_value=True):
                kill_at(owner, name, after)
                export(root)
            os._exit(0)
        status = os.wait()[1]
        sys.stdout.write(f"{root.name} {os.WTERMSIG(status) == signal.SIGKILL}\n")


if __name__ == "__main__":
    main()
