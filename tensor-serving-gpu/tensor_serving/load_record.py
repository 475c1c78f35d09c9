"""The outcome of loading and calling each version, on disk, so that it survives a crash of the model server.

A version is recorded before it is loaded. One that was being loaded when the server crashed is held back from then on,
until its files change. The embedded server keeps the record itself; for TensorFlow Serving `run` keeps it.
"""

import hashlib
import json
import logging
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import RLock
from typing import Literal

from tensor_serving.savedmodel import fingerprint

log = logging.getLogger(__name__)

MAX_KILLS = 2
"""Loads in a row that ended with a kill of unknown cause, after which the version is assumed to be the cause."""

MAX_CRASHES = 3
"""Crashes within an hour, while calls of no other version were running, after which a version is held back."""

_CRASHES_COUNT_S = 3600.0
_MAX_BYTES = 16 * 1024 * 1024

_State = Literal["loading", "loaded", "interrupted", "failed", "suspect", "retried", "ended"]
_HELD = ("failed", "suspect", "ended")


@dataclass
class _Entry:
    """A version's last load. `files` identifies the files it was loaded from; `proven`: it has loaded from them before.

    `kills` counts loads in a row that were cut off; `crashes` are the Unix times at which its calls crashed the server.
    """

    files: str
    state: _State
    reason: str = ""
    kills: int = 0
    proven: bool = False
    crashes: list[float] = field(default_factory=list)


class LoadRecord:
    """The record in the file at `path`, or in memory only. Thread-safe; only one process may write a file.

    A file that cannot be read counts as empty; if it cannot be written, that is logged and the record stays in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = RLock()
        self._entries: dict[str, _Entry] = {}
        self._oom_kills = 0
        self._writable = True
        if path:
            self._read(path)

    def begin(self, folder: Path) -> None:
        """Record that this version is about to be loaded. Raises OSError when its files cannot be read."""
        files = _files(folder)
        with self._lock:
            known = self._entries.get(str(folder))
            entry = known if known and known.files == files else _Entry(files, "loading")
            entry.state, entry.reason = "loading", ""
            self._entries[str(folder)] = entry
            self._oom_kills = _oom_kills()
            self._write()

    def loaded(self, folder: Path) -> None:
        """Record that the version has loaded."""
        self._set(folder, "loaded")

    def failed(self, folder: Path, reason: str) -> None:
        """Record that the version did not load: it is held back until retry()."""
        self._set(folder, "failed", reason)

    def discard(self, folder: Path) -> None:
        """Remove the version's entry."""
        with self._lock:
            if self._entries.pop(str(folder), None):
                self._write()

    def reason(self, folder: Path) -> str:
        """Return why the version is held back, or an empty string. The entry is removed if the files have changed."""
        with self._lock:
            entry = self._entries.get(str(folder))
            if not entry or entry.state not in _HELD:
                return ""
            try:
                if entry.files == _files(folder):
                    return entry.reason
            except OSError:  # it is being deleted
                return ""
            self.discard(folder)
            return ""

    def loading(self) -> list[Path]:
        """Return the folders of the versions being loaded."""
        with self._lock:
            return [Path(folder) for folder, entry in self._entries.items() if entry.state == "loading"]

    def server_stopped(self) -> None:
        """Record that the model server was stopped on purpose: versions that were loading are not the cause."""
        with self._lock:
            for folder in self.loading():
                self.discard(folder)

    def server_crashed(self, how: str, by_itself: bool) -> list[Path]:
        """Hold back the version that crashed the model server while loading; return the folders that were being loaded.

        `how` the server ended becomes part of the reason. Unless it ended `by_itself` or memory ran out meanwhile,
        another process may have killed it: then the version is held back only after MAX_KILLS times in a row.
        If several versions were being loaded, all are suspects, or only those that never loaded before, if any.
        """
        with self._lock:
            if not by_itself and _oom_kills() > self._oom_kills:
                how, by_itself = "out of memory", True
            loading = {folder: entry for folder, entry in self._entries.items() if entry.state == "loading"}
            for entry in loading.values():
                entry.state, entry.kills = "interrupted", entry.kills + 1
            suspects = {f: e for f, e in loading.items() if by_itself or e.kills >= MAX_KILLS}
            suspects = {f: e for f, e in suspects.items() if not e.proven} or suspects
            for folder, entry in suspects.items():
                entry.state = "ended" if len(suspects) == 1 else "suspect"
                entry.reason = f"ended the model server while it was loaded or warmed up ({how})"
                log.error("%s %s", folder, entry.reason)
            if loading:
                self._write()
            return [Path(folder) for folder in loading]

    def call_crashed(self, folder: Path, how: str) -> None:
        """Count a crash of the server in a call of this version; after MAX_CRASHES it is held back."""
        with self._lock:
            entry = self._entries.get(str(folder))
            if not entry:
                return
            now = time.time()
            entry.crashes = [*(then for then in entry.crashes if now - _CRASHES_COUNT_S < then <= now), now]
            if len(entry.crashes) >= MAX_CRASHES:
                entry.state = "ended"
                entry.reason = f"ended the model server {len(entry.crashes)} times while it answered calls ({how})"
                log.error("%s %s", folder, entry.reason)
            self._write()

    def retry(self) -> list[Path]:
        """Release the versions that only failed to load, for another try; return their folders."""
        with self._lock:
            failed = [Path(folder) for folder, entry in self._entries.items() if entry.state == "failed"]
            for folder in failed:
                self.discard(folder)
            return failed

    def retry_suspect(self, listed: set[Path]) -> Path | None:
        """Release one suspect for a retry and return its folder.

        Returns None if there is no suspect, or while a version of `listed` is being loaded or retried.
        """
        with self._lock:
            tried = {folder for folder, entry in self._entries.items() if entry.state in ("loading", "retried")}
            suspects = sorted(folder for folder, entry in self._entries.items() if entry.state == "suspect")
            if not suspects or not listed.isdisjoint(map(Path, tried)):
                return None
            self._entries[suspects[0]].state = "retried"
            self._write()
            return Path(suspects[0])

    def _set(self, folder: Path, state: _State, reason: str = "") -> None:
        with self._lock:
            try:
                known = self._entries.get(str(folder))
                if known and known.state == state:
                    return
                files = known.files if known and known.state == "loading" else _files(folder)
            except OSError:  # it is being deleted
                return
            crashes = known.crashes if known and known.files == files else []
            self._entries[str(folder)] = _Entry(files, state, reason, proven=state == "loaded", crashes=crashes)
            self._write()

    def _read(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                document = json.loads(file.read(_MAX_BYTES))
            self._oom_kills = int(document["oom_kills"])
            self._entries = {folder: _Entry(**entry) for folder, entry in document["versions"].items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            log.warning("%s cannot be read, what did not load is tried again: %s", path, error)

    def _write(self) -> None:
        """Replace the file atomically. It need not survive a power cut, so there is no fsync."""
        self._entries = {folder: entry for folder, entry in self._entries.items() if Path(folder).is_dir()}
        if not self._path:
            return
        document = {"oom_kills": self._oom_kills, "versions": {f: asdict(e) for f, e in self._entries.items()}}
        fresh = self._path.with_name(f".{self._path.name}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(document), encoding="utf-8")
            fresh.replace(self._path)
        except OSError as error:
            if self._writable:
                log.error("%s cannot be written, what did not load is tried again: %s", self._path, error.strerror)
            self._writable = False
            self._remove()
        else:
            self._writable = True

    def _remove(self) -> None:
        """Remove the file: an outdated record could hold back a version that has loaded since."""
        try:
            assert self._path
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.debug("%s cannot be removed: %s", self._path, error)


def _files(folder: Path) -> str:
    return hashlib.sha256(repr(fingerprint(folder)).encode()).hexdigest()[:16]


def _oom_kills() -> int:
    """Return how often the kernel has killed a process because memory ran out; 0 where it does not count that."""
    try:
        with Path("/proc/vmstat").open(encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0
