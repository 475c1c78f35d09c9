"""The progress of long work: a bar at a terminal or in a notebook, elsewhere a plain line now and then."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_EVERY_SECONDS = 5.0  # between two plain lines; shorter work prints nothing


@contextlib.contextmanager
def shown(what: str, total: int, start: int = 0, in_bytes: bool = False) -> Iterator[Callable[[int], None]]:
    """Show progress on stderr, and yield `advance(n)`. total: 0 if unknown; start: how much is done already."""
    console = Console(stderr=True, highlight=False, markup=False)
    if console.is_terminal or console.is_jupyter:
        count = DownloadColumn() if in_bytes else MofNCompleteColumn()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), count, TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task(what, total=total or None, completed=start)
            yield lambda n: progress.advance(bar, n)
    else:
        yield _Lines(console, what, total, start, in_bytes).advance


class _Lines:
    def __init__(self, console: Console, what: str, total: int, done: int, in_bytes: bool) -> None:
        self._console = console
        self._what = what
        self._total = total
        self._done = done
        self._in_bytes = in_bytes
        self._printed_at = time.monotonic()

    def advance(self, n: int) -> None:
        self._done += n
        if time.monotonic() - self._printed_at > _EVERY_SECONDS:
            self._printed_at = time.monotonic()
            of = f" of {self._amount(self._total)}" if self._total else ""
            self._console.print(f"{self._what}: {self._amount(self._done)}{of}", soft_wrap=True)

    def _amount(self, n: int) -> str:
        return f"{n / 1e6:.1f} MB" if self._in_bytes else str(n)
