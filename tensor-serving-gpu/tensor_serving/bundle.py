"""The index of a checkpoint (`variables.index`): how many data files belong to it, and how long each must be.

It is a LevelDB table whose values are BundleEntryProto messages (tensorflow/core/protobuf/tensor_bundle.proto). Each
block is read once, and no count in it can cause more work than the file's length.
"""

import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tensor_serving import proto_scanner

_FOOTER = 48
_MAGIC = 0xDB4775248B80FB57
_MAX_BYTES = 64 * 2**20  # of the index; that of a million variables is about this large


class Shards(NamedTuple):
    """The number of data files, and the minimum length of each in bytes by its number, where the index has it."""

    number: int
    sizes: dict[int, int]


def shards(index: Path) -> Shards:
    """Return the number and the minimum lengths of the data files in the index; no lengths if the table is compressed.

    Raises proto_scanner.TornError when the index is cut off or is not such a table, OSError when it cannot be read.
    """
    with proto_scanner.open_regular(index) as file:
        if os.fstat(file.fileno()).st_size > _MAX_BYTES:
            raise proto_scanner.TornError(f"it is larger than {_MAX_BYTES} bytes")
        data = file.read()
    if len(data) < _FOOTER or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise proto_scanner.TornError("its footer is missing")
    table = io.BytesIO(data)
    _, position = _handle(table, len(data) - _FOOTER, len(data))
    top, _ = _handle(table, position, len(data))
    count, sizes, walked = 1, dict[int, int](), 0
    for _, value in _entries(_block(data, *top)):
        (offset, length), _ = _handle(io.BytesIO(value), 0, len(value))
        walked += length
        if walked > len(data):
            raise proto_scanner.TornError("its blocks overlap")
        for has_key, message in _entries(_block(data, offset, length)):
            found = {field.number: field.value for field in proto_scanner.fields(io.BytesIO(message), 0, len(message))}
            if not has_key:  # the header has the empty key, which comes first
                count = found.get(1, 1)
                continue
            shard, end = found.get(3, 0), found.get(4, 0) + found.get(5, 0)
            if shard >= count:
                raise proto_scanner.TornError(f"it names data file {shard} of {count}")
            sizes[shard] = max(sizes.get(shard, 0), end)
    return Shards(count, sizes)


def _handle(table: io.BytesIO, position: int, end: int) -> tuple[tuple[int, int], int]:
    offset, position = proto_scanner.varint(table, position, end)
    length, position = proto_scanner.varint(table, position, end)
    return (offset, length), position


def _block(data: bytes, offset: int, length: int) -> bytes:
    """Return the entries of a block without the list of restart points after them; empty when it is compressed."""
    block = data[offset : offset + length]
    if len(block) < max(length, 4) or offset + length >= len(data):
        raise proto_scanner.TornError(f"a block at byte {offset} is cut off")
    if data[offset + length]:
        return b""
    restarts = struct.unpack("<I", block[-4:])[0]
    return block[: max(0, length - 4 - 4 * restarts)]


def _entries(block: bytes) -> Iterator[tuple[bool, bytes]]:
    """Yield for each entry whether its key is not empty, and its value. A key shares a prefix with the previous one."""
    table, position, key_length = io.BytesIO(block), 0, 0
    while position < len(block):
        shared, position = proto_scanner.varint(table, position, len(block))
        fresh, position = proto_scanner.varint(table, position, len(block))
        length, position = proto_scanner.varint(table, position, len(block))
        if shared > key_length or position + fresh + length > len(block):
            raise proto_scanner.TornError("an entry is cut off")
        key_length = shared + fresh
        yield key_length > 0, block[position + fresh : position + fresh + length]
        position += fresh + length
