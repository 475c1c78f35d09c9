"""Which versions have calls running, in a file that survives the process, so that the suspects of a crash are known.

The file is mapped into memory; a call costs a few stores, and the kernel keeps what was stored when the process ends.
It is a table of slots of 512 bytes: the number of calls, then the version's folder up to a zero byte, and at the end
the length and the text of the running call's request id, if no other call of the version has run since it began.
"""

import mmap
import os
from pathlib import Path
from threading import Lock
from typing import NamedTuple

_SLOT_BYTES = 512
_SLOTS = 1024
_ID_BYTES = 64
_ID_AT = _SLOT_BYTES - 1 - _ID_BYTES


class Slot:
    """The slot of one loaded version in the table; without a table it does nothing."""

    def __init__(self, table: mmap.mmap | None = None, offset: int = 0) -> None:
        self._table, self._offset = table, offset

    def set(self, calls: int, request_id: str = "") -> None:
        """Store how many calls are running, and the request id of a call that starts while no other runs."""
        if self._table:
            start = self._offset + _ID_AT
            self._table[start] = 0  # cleared first, set last: a crash in between leaves no wrong id
            self._table[self._offset] = min(calls, 255)
            text = request_id.encode("ascii", "replace")
            if 0 < len(text) <= _ID_BYTES:
                self._table[start + 1 : start + 1 + len(text)] = text
                self._table[start] = len(text)

    def free(self) -> None:
        """Release the slot for another version."""
        if self._table:
            self._table[self._offset : self._offset + _SLOT_BYTES] = bytes(_SLOT_BYTES)


class RunningVersions:
    """The table, in a file that is always created anew; without a path it does nothing. Raises OSError."""

    def __init__(self, path: Path | None) -> None:
        self._lock = Lock()
        self._table: mmap.mmap | None = None
        if path:
            with path.open("w+b") as file:
                os.posix_fallocate(file.fileno(), 0, _SLOTS * _SLOT_BYTES)  # a full disk would be SIGBUS later
                self._table = mmap.mmap(file.fileno(), _SLOTS * _SLOT_BYTES)

    def slot(self, folder: Path) -> Slot:
        """Return a slot for this version. If none is free, the version is not recorded."""
        name = os.fsencode(folder)
        if not self._table or len(name) > _ID_AT - 2:
            return Slot()
        with self._lock:
            for offset in range(0, len(self._table), _SLOT_BYTES):
                if not self._table[offset + 1]:
                    self._table[offset + 1 : offset + 1 + len(name)] = name
                    return Slot(self._table, offset)
        return Slot()


class Running(NamedTuple):
    """A version that had calls running; `request_id` is empty unless it was a single call with a known id."""

    folder: Path
    request_id: str


def read(path: Path) -> list[Running]:
    """Return the versions that had calls running when the process of this file ended."""
    try:
        with path.open("rb") as file:
            data = file.read(_SLOTS * _SLOT_BYTES)
    except OSError:
        return []
    slots = (data[start : start + _SLOT_BYTES] for start in range(0, len(data), _SLOT_BYTES))
    return [
        Running(Path(os.fsdecode(slot[1:_ID_AT].partition(b"\0")[0])), _id_in(slot))
        for slot in slots
        if slot[0] and slot[1:2].strip(b"\0")
    ]


def _id_in(slot: bytes) -> str:
    start = _ID_AT + 1
    return slot[start : start + slot[_ID_AT]].decode("ascii", "replace")
