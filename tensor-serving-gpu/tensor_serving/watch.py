"""The watcher: keeps the model server's config file in step with the models volume, and provides the inventory.

TensorFlow Serving has no call that lists models; the inventory is that list. Which sound versions do not load is known
from the model server only: each poll first reads its states, and versions that failed are no longer listed. A record of
loads keeps this over restarts: at a start, versions that did not load are left out of the list and retried afterwards.
"""

import json
import logging
import time
from datetime import datetime, timezone
from pathlib import Path
from threading import Event

from tensor_serving import operations
from tensor_serving.catalogue import Catalogue, Model, scan
from tensor_serving.generate import render, write_if_changed
from tensor_serving.load_record import LoadRecord
from tensor_serving.model_server import ModelServer, RecentStates
from tensor_serving.savedmodel import SavedModelValidator
from tensor_serving.scan_thread import ScanThread

MAX_AGE = 30.0
"""Seconds after which an inventory counts as out of date."""

_SCAN_TIMEOUT_S = 5.0  # after which a scan continues in the background
_RECHECK_INTERVAL_S = 5.0  # between state requests for versions that are known to load

log = logging.getLogger(__name__)


class Watcher:
    """Scans the volume at each `poll`, and keeps the result for the inventory.

    Without a `server`, whether a sound version loads is not checked. `record` is for a server that keeps none itself.
    The inventory is out of date when the last complete scan is more than `max_age` seconds old.
    """

    def __init__(
        self,
        models: Path,
        output: Path,
        server: ModelServer | None = None,
        record: LoadRecord | None = None,
        max_age: float = MAX_AGE,
    ) -> None:
        self._models, self._output, self._server, self._max_age = models, output, server, max_age
        self._record = record or LoadRecord()
        self._recent = RecentStates(server.address) if server else None
        self._recheck_due = 0.0
        self._validator = SavedModelValidator(operations.allowed())
        self._seen = self._shown = Catalogue([])  # _shown is the result of the last finished scan
        self._error = ""
        self._logged: set[str] = set()
        self._scans = ScanThread(self._poll)
        self._looked: datetime | None = None
        self._looked_at = time.monotonic()  # the last scan's end; at first, the watcher's start
        self._was_stale = False

    def poll(self, seconds: float | None = _SCAN_TIMEOUT_S) -> bool:
        """Scan the volume once and write the config file if it changes. Return whether that succeeded in time.

        While the volume cannot be read, or the file not written, the last config and inventory stay unchanged, and the
        inventory has the reason as `error`. A scan that takes longer than `seconds` continues in the background, and
        its result is used when it ends; None waits for it.
        """
        succeeded, stale = self._scans.run_once(seconds), self.stale()
        if stale and not self._was_stale:
            log.error("%s", stale)
        self._was_stale = bool(stale)
        return succeeded

    @property
    def complete(self) -> bool:
        """Whether every version has been validated; with many versions each poll validates a part."""
        return self._seen.complete

    def inventory(self, available: bool = False) -> bytes:
        """Return the current inventory (docs/contracts.md). Thread-safe.

        With `available` each model names the versions that can be called now, as the model server reports them.
        """
        models = [model.document() for model in self._shown.models]
        if available and self._recent:
            found = self._recent.available([model.name for model in self._shown.models if model.serving])
            models = [{**model, "available": found.get(str(model["name"]), [])} for model in models]
        document: dict[str, object] = {
            "models": models,
            "ignored": [near.document() for near in self._shown.ignored],
            "looked": self._looked.isoformat(timespec="seconds") if self._looked else None,
        }
        if error := self._error or self.stale():
            document["error"] = error
        return json.dumps(document).encode()

    def stale(self) -> str:
        """Return why the inventory is out of date, with the age of the last complete scan; empty while it is not.

        Thread-safe.
        """
        age = time.monotonic() - self._looked_at
        if age <= self._max_age:
            return ""
        why = self._error or "a scan of it has not ended: does its disk hang?"
        return f"{self._models} has not been read for {age:.0f} s: {why}"

    def not_ready(self) -> list[str]:
        """Return why not every listed model can be called; empty when all can. Thread-safe.

        A model can be called while one of its listed versions is AVAILABLE.
        """
        listed = {model.name: model for model in self._shown.models if model.serving}
        reasons = [stale] if (stale := self.stale()) else []
        if not listed:
            return [*reasons, "no model is served"]
        if not self._server:
            return reasons
        # A connection of its own, as this thread must not change the watcher's state of the server.
        found = ModelServer(self._server.address).states(list(listed))
        if not found:
            return [*reasons, "the model server does not answer"]
        for name, model in listed.items():
            states = {number: state for number, (state, _) in found.get(name, {}).items() if number in model.serving}
            if "AVAILABLE" not in states.values():
                listed_states = ", ".join(f"{number} {states.get(number, 'not loaded')}" for number in model.serving)
                reasons.append(f"no version of {name} is available: {listed_states}")
        return reasons

    def _poll(self) -> bool:
        error = ""
        try:
            if self._server:
                self._poll_status(self._server)
            self._seen = self._catalogue()
            if write_if_changed(self._output, render(self._seen)):
                log.info("%s lists %s", self._output, _summary(self._seen.models))
        except OSError as problem:
            error = f"{problem.filename or self._models}: {problem.strerror}"
        except ValueError as problem:
            error = str(problem)
        except Exception as problem:  # the next scan may succeed; without it nothing new would be served
            log.exception("a scan of %s failed", self._models)
            error = f"{type(problem).__name__}: {problem}"
        if error and error != self._error:
            log.error("%s", error)
        self._error = error
        if not error:
            self._looked, self._looked_at = datetime.now(timezone.utc), time.monotonic()
        self._log_changes()
        self._shown = self._seen
        return not error

    def start_empty(self) -> None:
        """Write a config without models if there is no file: without any the model server would refuse to start."""
        if not self._output.exists():
            write_if_changed(self._output, render(Catalogue([])))

    def server_starts(self) -> None:
        """Record that the model server is being started: it has not answered yet."""
        if self._server:
            self._server.answered = False

    @property
    def server_answered(self) -> bool:
        """Whether the model server has answered since its start."""
        return self._server is not None and self._server.answered

    def folder(self, name: str, number: int) -> Path | None:
        """Return the folder of a version that the last scan found. Thread-safe."""
        return next((model.folders.get(number) for model in self._seen.models if model.name == name), None)

    def run(self, stop: Event, seconds: float) -> None:
        """Poll every so many seconds until stopped."""
        while not stop.wait(seconds):
            self.poll()

    def _catalogue(self) -> Catalogue:
        """Return what the volume holds; versions that the record holds back are quarantined."""
        seen = self._scan()
        if self._hold_back(seen):
            seen = self._scan()
        listed = _folders(seen)
        # If several versions may have crashed the server, they are retried one at a time, beside those known to load.
        if (self.server_answered or not listed) and (suspect := self._record.retry_suspect(listed)):
            self._validator.forget({suspect})
            seen = self._scan()
        return seen

    def _hold_back(self, seen: Catalogue) -> bool:
        """Have the validator refuse the sound versions that the record holds back. Return whether there were any."""
        sound = [model.folders[number] for model in seen.models for number in model.versions]
        held = {folder: reason for folder in sound if (reason := self._record.reason(folder))}
        for folder, reason in held.items():
            self._validator.forget({folder})  # as it refuses only what it has just validated
            self._validator.problem(folder)
            self._validator.mark_failed(folder, reason)
        return bool(held)

    def _scan(self) -> Catalogue:
        return scan(self._models, self._validator, tried=self._server is not None)

    def _poll_status(self, server: ModelServer) -> None:
        """Read the listed versions' states from the model server; report to validator and record which ones load."""
        recheck, answered = time.monotonic() >= self._recheck_due, server.answered
        if recheck:
            self._recheck_due = time.monotonic() + _RECHECK_INTERVAL_S
        listed = {model.name: model for model in self._seen.models if model.serving}
        checked = [name for name, model in listed.items() if recheck or not self._loads(model)]
        for name, states in server.states(checked).items():
            for number, (state, error) in states.items():
                folder = listed[name].folders.get(number)
                if folder and number in listed[name].serving and state == "AVAILABLE":
                    self._validator.mark_loaded(folder)
                    self._record.loaded(folder)
                elif folder and number in listed[name].serving and state == "END" and error:
                    self._validator.mark_failed(folder, error)
                    if self._validator.problem(folder):  # else the state is that of earlier files
                        self._record.failed(folder, error)
        if server.answered and not answered:
            for folder in self._record.retry():
                self._validator.forget({folder})

    def _loads(self, model: Model) -> bool:
        return all(self._validator.loads(model.folders[number]) for number in model.serving)

    def _log_changes(self) -> None:
        """Log each quarantine, problem and near model once, and again only when it returns after it was gone."""
        now = {near.line() for near in self._seen.ignored}
        for model in self._seen.models:
            now |= {f"{model.name} version {n} is quarantined: {why}" for n, why in model.quarantined.items()}
            now |= {f"{model.name}: {problem}" for problem in model.problems}
        for line in sorted(now - self._logged):
            log.warning("%s", line)
        self._logged = now


def _folders(seen: Catalogue) -> set[Path]:
    """Return the folders of the versions to be served."""
    return {model.folders[number] for model in seen.models for number in model.serving}


def _summary(models: list[Model]) -> str:
    return ", ".join(f"{model.name} {model.serving}" for model in models if model.serving) or "no model"
