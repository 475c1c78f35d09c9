"""The watcher beside the model server: keeps its config file in step with the models volume, and answers what is there.

TensorFlow Serving has no call that lists models; the inventory served here is that list. What looks sound but does not
load, only the model server can tell: it is asked after each look, and what it failed with is no longer listed.
"""

import json
import logging
import time
from pathlib import Path
from threading import Event

from tensor_serving import operations
from tensor_serving.catalogue import Catalogue, Model, scan
from tensor_serving.generate import render, write_if_changed
from tensor_serving.model_server import ModelServer
from tensor_serving.savedmodel import Inspector

_RECHECK = 5.0  # seconds between questions about versions that are known to load

log = logging.getLogger(__name__)


class Watcher:
    """Looks at the volume when told to (`poll`), and remembers what it saw for the inventory.

    Without a `server` to ask, what looks sound counts as sound.
    """

    def __init__(self, models: Path, output: Path, server: ModelServer | None = None) -> None:
        self._models, self._output, self._server = models, output, server
        self._recheck_due = 0.0
        self._listing = True
        self._inspector = Inspector(operations.allowed())
        self._seen = Catalogue([])
        self._error = ""
        self._said: set[str] = set()
        self.inventory = self._document()

    def poll(self) -> bool:
        """Look once; write the config file if it should differ. Return whether all went well.

        While the volume cannot be read, or the file not written, the last config and inventory stay as they are, and
        the inventory carries the reason as `error`.
        """
        error = ""
        if self._server:
            self._hear(self._server)
        try:
            self._seen = scan(self._models, self._inspector, tried=self._server is not None)
            listed = self._seen if self._listing else Catalogue([])
            if write_if_changed(self._output, render(listed)):
                log.info("%s lists %s", self._output, _summary(listed.models))
        except OSError as problem:
            error = f"{problem.filename or self._models}: {problem.strerror}"
        except ValueError as problem:
            error = str(problem)
        if error and error != self._error:
            log.error("%s", error)
        self._error = error
        self._say()
        self.inventory = self._document()
        return not error

    def start_empty(self) -> None:
        """Give the model server a config that lists nothing, where it would find none at all and refuse to start."""
        if not self._output.exists():
            write_if_changed(self._output, render(Catalogue([])))

    def list_nothing_yet(self) -> bool:
        """List nothing until the model server answers; return whether that differs from what it found at its start.

        A server that looks at its list for the first time may give up over one bad model; later it goes on without it.
        """
        if not self._server or self._server.answered or not any(model.serving for model in self._seen.models):
            return False
        self._listing = False
        self.poll()
        return True

    def run(self, stop: Event, seconds: float) -> None:
        """Poll every so many seconds until told to stop."""
        while not stop.wait(seconds):
            self.poll()

    def _hear(self, server: ModelServer) -> None:
        """Ask the model server about the versions listed, and pass on which of them load and which do not."""
        recheck = time.monotonic() >= self._recheck_due
        if recheck:
            self._recheck_due = time.monotonic() + _RECHECK
        listed = {model.name: model for model in self._seen.models if model.serving}
        asked = [name for name, model in listed.items() if recheck or not self._loads(model)]
        for name, states in server.states(asked).items():
            for number, (state, error) in states.items():
                folder = listed[name].folders.get(number)
                if folder and number in listed[name].serving and state == "AVAILABLE":
                    self._inspector.accept(folder)
                elif folder and number in listed[name].serving and state == "END" and error:
                    self._inspector.refuse(folder, error)
        self._listing = self._listing or server.answered

    def _loads(self, model: Model) -> bool:
        return all(self._inspector.loads(model.folders[number]) for number in model.serving)

    def _document(self) -> bytes:
        document: dict[str, object] = {
            "models": [model.document() for model in self._seen.models],
            "ignored": [near.document() for near in self._seen.ignored],
        }
        if self._error:
            document["error"] = self._error
        return json.dumps(document).encode()

    def _say(self) -> None:
        """Log each quarantine, each problem and each near model once, and again only after it was gone."""
        now = {near.line() for near in self._seen.ignored}
        for model in self._seen.models:
            now |= {f"{model.name} version {n} is quarantined: {why}" for n, why in model.quarantined.items()}
            now |= {f"{model.name}: {problem}" for problem in model.problems}
        for line in sorted(now - self._said):
            log.warning("%s", line)
        self._said = now


def _summary(models: list[Model]) -> str:
    return ", ".join(f"{model.name} {model.serving}" for model in models if model.serving) or "no model"
