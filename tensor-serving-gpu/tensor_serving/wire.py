"""A walk over the fields of a protobuf message on disk, without protobuf and without reading what is skipped."""

import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple


class TornError(ValueError):
    """The bytes end, or stop making sense, before the message does. The text says where."""


class Field(NamedTuple):
    """One field: its number, where its payload lies in the file, and its value when that is a plain number."""

    number: int
    start: int
    end: int
    value: int = 0


def fields(file: BinaryIO, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message in `file[start:end]`; raises TornError when they do not fill it exactly."""
    position = start
    while position < end:
        tag, position = varint(file, position, end)
        number, kind = tag >> 3, tag & 7
        value = 0
        payload = position
        if kind == 0:
            value, position = varint(file, position, end)
        elif kind == 2:
            length, payload = varint(file, position, end)
            position = payload + length
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise TornError(f"not a protobuf message at byte {payload}")
        if not number or position > end:
            raise TornError(f"a field at byte {payload} should end at byte {position}, but the data end at byte {end}")
        yield Field(number, payload, position, value)


def varint(file: BinaryIO, position: int, end: int) -> tuple[int, int]:
    """Return the variable-length integer at `position` and the position after it; raises TornError when cut off."""
    file.seek(position)
    value = 0
    for count, byte in enumerate(file.read(min(10, end - position))):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, position + count + 1
    raise TornError(f"a number is cut off at byte {position}")


def size(file: BinaryIO) -> int:
    """Return the length of an open file in bytes."""
    return file.seek(0, os.SEEK_END)


def read(file: BinaryIO, field: Field) -> bytes:
    """Return the payload of a field."""
    file.seek(field.start)
    return file.read(field.end - field.start)
