"""What the engine prints: aligned rows, tables, JSON, and progress (one updated line on a terminal, else lines)."""

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence

_BOLD, _DIM, _GREEN, _RED, _OFF = "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m"


_json = False


def is_terminal() -> bool:
    return not _json and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def use_json(wanted: bool) -> None:
    """From now on print documents and tables as JSON on stdout, everything else on stderr."""
    global _json
    _json = wanted


def say(text: str = "") -> None:
    stream = sys.stderr if _json else sys.stdout
    stream.write(text + "\n")
    stream.flush()


def document(content: object) -> bool:
    """Print the content if JSON output is on; return whether it is."""
    if _json:
        sys.stdout.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return _json


def bold(text: str) -> str:
    return _paint(_BOLD, text)


def dim(text: str) -> str:
    return _paint(_DIM, text)


def good(text: str) -> str:
    return _paint(_GREEN, text)


def bad(text: str) -> str:
    return _paint(_RED, text)


def rows(pairs: Iterable[tuple[str, str]]) -> None:
    """Print `  name   value` lines with the values aligned."""
    pairs = list(pairs)
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        say(f"  {name:<{width}}  {value}")


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table; a column is as wide as its widest cell. As JSON it is a list of objects; no header is "note"."""
    keys = [name.lower() or "note" for name in header]
    if document([dict(zip(keys, map(_value, line), strict=True)) for line in lines]):
        return
    widths = [max(len(line[column]) for line in [header, *lines]) for column in range(len(header))]
    for number, line in enumerate([header, *lines]):
        text = "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        say(dim(text) if number == 0 else text)


def _value(cell: str) -> str | int | None:
    return int(cell) if cell.isdigit() else None if cell in ("", "-") else cell


class Progress:
    """One step that takes time: `with Progress("installing") as p: p.update("12/180 numpy")`."""

    def __init__(self, title: str, every: float = 15.0) -> None:
        self._title, self._every = title, every
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> "Progress":
        if not is_terminal():
            say(f"{self._title} ...")
        return self

    def __exit__(self, error: object, *_: object) -> None:
        outcome = bad("failed") if error else good("done")
        self._clear()
        say(f"{self._title}: {outcome} ({self.seconds:.0f} s)")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def update(self, text: str) -> None:
        """Show the step's progress: at once on a terminal, else every 15 s."""
        now = time.monotonic()
        if is_terminal():
            width = os.get_terminal_size(sys.stdout.fileno()).columns - 1
            self._clear()
            sys.stdout.write(f"{self._title}: {text} {_DIM}{self.seconds:.0f} s{_OFF}"[: width + len(_DIM + _OFF)])
            sys.stdout.flush()
        elif now - self._printed >= self._every:
            self._printed = now
            say(f"  {text} ({self.seconds:.0f} s)")

    def _clear(self) -> None:
        if is_terminal():
            sys.stdout.write("\r\033[K")


def _paint(colour: str, text: str) -> str:
    return f"{colour}{text}{_OFF}" if is_terminal() and "NO_COLOR" not in os.environ else text
