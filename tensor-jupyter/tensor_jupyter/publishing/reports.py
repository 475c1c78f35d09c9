"""The files beside a model's versions, in `<models>/<name>/.reports/`: the gate's reports, and the log.

<version>.json     the gate's last report of that version
log.jsonl          one line for each change: labels, default, promotion, rollback, unpin, deletion, other settings
"""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensor_jupyter.context import make_shared, share
from tensor_jupyter.publishing.card import now


class Reports:
    """The reports of the model in the folder `family`, which must exist."""

    def __init__(self, family: Path) -> None:
        self._folder = family / ".reports"

    def path(self, version: int) -> Path:
        """The path of a version's report, whether it exists or not."""
        return self._folder / f"{version}.json"

    def store(self, version: int, report: dict[str, Any]) -> None:
        """Keep a version's report, in place of an earlier one."""
        make_shared(self._folder)
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=".report-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)
        Path(name).chmod(0o664)
        Path(name).replace(self.path(version))

    def read(self, version: int) -> dict[str, Any] | None:
        """The last report of a version, None when there is none that can be read."""
        try:
            found = json.loads(self.path(version).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return _current(found) if isinstance(found, dict) else None

    def log(self) -> list[dict[str, Any]]:
        """The entries of the log, oldest first."""
        try:
            lines = (self._folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):  # a line torn by a full disk
                found.append(json.loads(line))
        return [entry for entry in found if isinstance(entry, dict)]

    def append(self, entry: dict[str, Any]) -> None:
        """Add an entry to the log, with the time."""
        with (self._folder / "log.jsonl").open("a", encoding="utf-8") as log:
            share(self._folder / "log.jsonl")
            log.write(json.dumps({"time": now(), **entry}) + "\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the model's serving.json meanwhile."""
        make_shared(self._folder)
        with (self._folder / ".lock").open("w") as lock:
            share(self._folder / ".lock")
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _current(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report with today's field names: in schema 1 a check's `message` has another name."""
    for check in report.get("checks", []):
        check["message"] = check.pop("told", check.get("message", ""))
    return report
