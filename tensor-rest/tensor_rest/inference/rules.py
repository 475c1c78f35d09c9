"""The rules file: below which score a model is unsure, and which model is called then. Read again whenever it changes.

{"mnist-net": {"min_score": 0.6, "then": "letters-net"}, "letters-net": {"min_score": 0.5}}
"""

import logging
import threading
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0  # between two looks at the file's time
_MAX_BYTES = 1 << 20

Stamp = tuple[int, int, int]


class Rule(BaseModel):
    """A model whose best score is below `min_score` is unsure; then the model `then` is called, if one is named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_score: float = Field(ge=0, le=1)
    then: str | None = Field(default=None, min_length=1, max_length=63)


_FILE = TypeAdapter(dict[str, Rule])


class Rules:
    """The rules in the file at `path` (None: there are none). While it is invalid, the previous rules apply."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rules: dict[str, Rule] = {}
        self._problem = ""
        self._stamp: Stamp | None = None
        self._next_look = 0.0
        self._lock = threading.Lock()

    def get(self, model: str) -> Rule | None:
        """The rule for a model, None without one."""
        self._refresh()
        return self._rules.get(model)

    def document(self) -> dict[str, object]:
        """What is in force, and what is wrong with the file as it is now ("" if nothing)."""
        self._refresh()
        return {"models": {name: rule.model_dump() for name, rule in self._rules.items()}, "message": self._problem}

    def _refresh(self) -> None:
        now = time.monotonic()
        if self._path is None or now < self._next_look:
            return
        with self._lock:
            self._next_look = now + _LOOK_SECONDS
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                self._read(self._path, stamp)

    def _read(self, path: Path, stamp: Stamp | None) -> None:
        try:
            self._rules, self._problem = (_parsed(path) if stamp else {}), ""
        except (OSError, ValueError) as error:
            self._problem = f"{path.name} is invalid, the previous rules stay in force: {error}"
            log.error("rules: %s", self._problem)
        else:
            log.info("rules: %d in force from %s", len(self._rules), path.name)


def _stamp(path: Path) -> Stamp | None:
    """Return a value that changes when the file does; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _parsed(path: Path) -> dict[str, Rule]:
    """Return the rules of a file. Raises ValueError with the reason if the file is invalid."""
    with path.open("rb") as file:
        text = file.read(_MAX_BYTES)
    try:
        rules = _FILE.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where + ': ' if where else ''}{first['msg']}") from error
    for name in rules:
        _refuse_circle(name, rules)
    return rules


def _refuse_circle(name: str, rules: dict[str, Rule]) -> None:
    seen, current = [name], rules[name].then
    while current is not None:
        seen.append(current)
        if seen.count(current) > 1:
            raise ValueError(f"a circle: {' -> '.join(seen)}")
        current = rules[current].then if current in rules else None
