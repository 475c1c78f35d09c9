"""A walk over the fields of a protobuf message on disk, without protobuf and without reading what is skipped.

The bytes are untrusted: no length in them leads to an allocation before the file is known to be that long, and only
regular files are opened, as opening a FIFO would block for ever.
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_WINDOW = 64 * 1024  # bytes; a message up to this size is read at once, a larger one field by field
_MAX_FIELDS = 10_000_000  # of all messages of a file
_MAX_TAG = 2**32  # protobuf's tags are 32 bits wide


class TornError(ValueError):
    """The bytes end or become invalid before the message is complete. The text names the position."""


class Field(NamedTuple):
    """One field: its number, the start and end of its payload in the file, and its value if it is a varint."""

    number: int
    start: int
    end: int
    value: int = 0


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read it. Raises OSError, also where it is a folder, a FIFO or another special file."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(handle, "rb")


class Walk:
    """A walk through the messages of a file, with a bound on the fields in total. Every method raises TornError."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._walked = file, 0
        self.whole = Field(0, 0, file.seek(0, os.SEEK_END))

    def fields(self, message: Field) -> Iterator[Field]:
        """Yield the fields of a message."""
        for part in fields(self._file, message.start, message.end):
            self._walked += 1
            if self._walked > _MAX_FIELDS:
                raise TornError(f"it has more than {_MAX_FIELDS} fields, too many to check")
            yield part

    def inside(self, message: Field, *path: int) -> list[Field]:
        """Return every field at the end of this path of field numbers inside a message."""
        found = [message]
        for number in path:
            found = [part for each in found for part in self.fields(each) if part.number == number]
        return found

    def strings(self, message: Field, *path: int) -> list[bytes]:
        """Return the payloads of the fields at the end of this path, which are names."""
        return [self.read(part) for part in self.inside(message, *path)]

    def read(self, part: Field) -> bytes:
        """Return the payload of a field that is a name."""
        if part.end - part.start > _WINDOW:
            raise TornError(f"a name at byte {part.start} is longer than {_WINDOW} bytes")
        self._file.seek(part.start)
        return self._file.read(part.end - part.start)

    def may_hold(self, part: Field, pattern: re.Pattern[bytes]) -> bool:
        """Return whether the pattern occurs in the payload of a field; True for a large one, which is not searched."""
        return part.end - part.start > _WINDOW or bool(pattern.search(self.read(part)))


def fields(file: BinaryIO, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message in `file[start:end]`; raises TornError when they do not fill it exactly."""
    if end - start <= _WINDOW:
        file.seek(start)
        window = file.read(end - start)
        yield from _fields(lambda position: _varint(window, position - start, start), start, end)
    else:
        yield from _fields(lambda position: varint(file, position, end), start, end)


def _fields(number_at: Callable[[int], tuple[int, int]], start: int, end: int) -> Iterator[Field]:
    position = start
    while position < end:
        tag, payload = number_at(position)
        number, kind = tag >> 3, tag & 7
        value, position = 0, payload
        if kind == 2:
            length, payload = number_at(payload)
            position = payload + length
        elif kind == 0:
            value, position = number_at(payload)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise TornError(f"not a protobuf message at byte {payload}")
        if not number or tag >= _MAX_TAG or position > end:
            raise TornError(f"a field at byte {payload} should end at byte {position}, but the data end at byte {end}")
        yield Field(number, payload, position, value)


def varint(file: BinaryIO, position: int, end: int) -> tuple[int, int]:
    """Return the variable-length integer at `position` and the position after it; raises TornError when cut off."""
    file.seek(position)
    return _varint(file.read(max(0, min(10, end - position))), 0, position)


def _varint(data: bytes, index: int, offset: int) -> tuple[int, int]:
    """Return the integer at `data[index]`, which is byte `offset + index` of the file, and the position after it."""
    data = data[index : index + 10]
    if data and data[0] < 0x80:  # most are
        return data[0], offset + index + 1
    value = 0
    for count, byte in enumerate(data):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, offset + index + count + 1
    raise TornError(f"a number is cut off at byte {offset + index}")
