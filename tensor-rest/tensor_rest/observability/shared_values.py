"""Metric values of all uWSGI workers in shared memory: each worker writes its own, any worker can sum them up.

The memory is mapped by uWSGI's master before it forks (server/preload.py), so the successor of a worker that died
continues with its values. It is not a mapped file: on a full disk, writing to one can end the process (SIGBUS).
"""

import mmap
from collections import defaultdict
from collections.abc import Iterator
from typing import TypeAlias

_VALUES = 1 << 14  # of a worker: some 1,000 histograms
_VALUE_BYTES = 8 * _VALUES
_KEY_BYTES = 192 * _VALUES  # virtual memory; only used pages take real memory
_REGION = _VALUE_BYTES + _KEY_BYTES
_LENGTH = 2  # bytes of a key's length

Cells: TypeAlias = "memoryview[float] | list[float]"


class SharedValues:
    """The memory of all workers."""

    def __init__(self, workers: int) -> None:
        self._memory = memoryview(mmap.mmap(-1, workers * _REGION))
        self._workers = workers

    def worker(self, number: int) -> "WorkerValues":
        """The values of the worker with this number, counted from 1, as its predecessor left them."""
        region = self._memory[(number - 1) * _REGION : number * _REGION]
        return WorkerValues(region[:_VALUE_BYTES].cast("d"), region[_VALUE_BYTES:])

    def totals(self) -> dict[str, float]:
        """The sum over all workers of each value, by key."""
        sums: dict[str, float] = defaultdict(float)
        for number in range(1, self._workers + 1):
            for key, value in self.worker(number).items():
                sums[key] += value
        return sums


shared: SharedValues | None = None
"""Set in uWSGI's master; None in any other process."""


class WorkerValues:
    """The values of one worker; only it writes them. Cell 0 has their number; keys are in the cells' order."""

    def __init__(self, cells: "memoryview[float]", keys: memoryview) -> None:
        self._cells, self._keys = cells, keys
        self._end = 0  # of the keys, in bytes
        self._places: dict[str, int] = {}
        for place in range(1, int(cells[0]) + 1):
            length = int.from_bytes(keys[self._end : self._end + _LENGTH], "big")
            start = self._end + _LENGTH
            self._end = start + length
            self._places[bytes(keys[start : self._end]).decode()] = place

    def items(self) -> Iterator[tuple[str, float]]:
        """Keys and values."""
        return ((key, self._cells[place]) for key, place in self._places.items())

    def cell(self, key: str) -> tuple[Cells, int]:
        """Return the cells with the value of `key`, and its index there. If none is left, the value is not shared."""
        place = self._places.get(key)
        if place is None:
            place, written = len(self._places) + 1, key.encode()
            end = self._end + _LENGTH + len(written)
            if place >= len(self._cells) or end > len(self._keys):
                return [0.0], 0
            self._keys[self._end : end] = len(written).to_bytes(_LENGTH, "big") + written
            self._end = end
            self._places[key] = place
            self._cells[0] = place  # last, so that a reader sees complete keys only
        return self._cells, place
