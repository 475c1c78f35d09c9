"""The logs of the programs: their last lines, and following them as they grow."""

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..settings import Settings
from .services import Service


def last_lines(settings: Settings, program: str, count: int) -> list[str]:
    """Return up to `count` last lines of a program's log; none if it has not written any."""
    path = _path(settings, program)
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:  # at most 10 MB, see supervisor_config
        return [line.rstrip("\n") for line in deque(file, maxlen=max(0, count))]


def show(settings: Settings, services: Sequence[Service], count: int, follow: bool) -> None:
    """Print the last lines of the services' programs, each after its program's name; with `follow`, continue."""
    programs = [program.name for service in services for program in service.programs]
    width = max(map(len, programs))
    tails = {program: _Tail(_path(settings, program)) for program in programs}
    for program in programs:
        _print(program, width, last_lines(settings, program, count))
    while follow:
        for program, tail in tails.items():
            _print(program, width, tail.new_lines())
        time.sleep(0.3)


class _Tail:
    """Reads the lines added to a file from now on, also after its rotation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def new_lines(self) -> Iterator[str]:
        size = self._path.stat().st_size if self._path.exists() else 0
        if size < self._at:  # rotated or truncated
            self._at, self._rest = 0, b""
        if size > self._at:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = self._rest + file.read(size - self._at)
            self._at = size
            *lines, self._rest = data.split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)


def _print(program: str, width: int, lines: Sequence[str] | Iterator[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{program:<{width}} | {line}\n")
    sys.stdout.flush()


def _path(settings: Settings, program: str) -> Path:
    return settings.run / "log" / f"{program}.log"
