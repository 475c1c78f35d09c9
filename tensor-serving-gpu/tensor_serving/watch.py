"""The watcher beside the model server: keeps its config file in step with the models volume, and answers what is there.

TensorFlow Serving has no call that lists models; the inventory served here is that list.
"""

import json
import logging
from pathlib import Path
from threading import Event

from tensor_serving.catalogue import Catalogue, Model, scan
from tensor_serving.generate import render, write_if_changed
from tensor_serving.savedmodel import Inspector

log = logging.getLogger(__name__)


class Watcher:
    """Looks at the volume when told to (`poll`), and remembers what it saw for the inventory."""

    def __init__(self, models: Path, output: Path) -> None:
        self._models, self._output = models, output
        self._inspector = Inspector()
        self._seen = Catalogue([], [])
        self._error = ""
        self._said: set[str] = set()
        self.inventory = self._document()

    def poll(self) -> bool:
        """Look once; write the config file if it should differ. Return whether all went well.

        While the volume cannot be read, or the file not written, the last config and inventory stay as they are, and
        the inventory carries the reason as `error`.
        """
        error = ""
        try:
            self._seen = scan(self._models, self._inspector)
            if write_if_changed(self._output, render(self._seen)):
                log.info("%s lists %s", self._output, _summary(self._seen.models))
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
            write_if_changed(self._output, render(Catalogue([], [])))

    def run(self, stop: Event, seconds: float) -> None:
        """Poll every so many seconds until told to stop."""
        while not stop.wait(seconds):
            self.poll()

    def _document(self) -> bytes:
        document: dict[str, object] = {"models": [model.document() for model in self._seen.models]}
        if self._error:
            document["error"] = self._error
        return json.dumps(document).encode()

    def _say(self) -> None:
        """Log each quarantine, each problem and each ignored name once, and again only after it was gone."""
        now = {f"{name!r} is ignored: not a model name" for name in self._seen.ignored}
        for model in self._seen.models:
            now |= {f"{model.name} version {n} is quarantined: {why}" for n, why in model.quarantined.items()}
            now |= {f"{model.name}: {problem}" for problem in model.problems}
        for line in sorted(now - self._said):
            log.warning("%s", line)
        self._said = now


def _summary(models: list[Model]) -> str:
    return ", ".join(f"{model.name} {model.serving}" for model in models if model.serving) or "no model"
