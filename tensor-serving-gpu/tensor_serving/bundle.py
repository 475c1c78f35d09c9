"""The index of a checkpoint (`variables.index`): how many data files belong to it, and how long each must be.

It is a LevelDB table whose values are BundleEntryProto messages (tensorflow/core/protobuf/tensor_bundle.proto).
"""

import io
import struct
from collections.abc import Iterator
from pathlib import Path

from tensor_serving import wire

_FOOTER = 48
_MAGIC = 0xDB4775248B80FB57


def shard_sizes(index: Path) -> list[int]:
    """Return the least length in bytes of each data file the index speaks of, in order of shard.

    Lengths are 0, that is unknown, where the table is compressed. Raises wire.TornError when the index is cut off or
    is no such table, OSError when it cannot be read.
    """
    data = index.read_bytes()
    if len(data) < _FOOTER or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise wire.TornError("its closing mark is missing")
    table = io.BytesIO(data)
    _, position = _handle(table, len(data) - _FOOTER, len(data))
    top, _ = _handle(table, position, len(data))
    sizes: list[int] = []
    for _, value in _entries(_block(data, *top)):
        handle, _ = _handle(io.BytesIO(value), 0, len(value))
        for key, message in _entries(_block(data, *handle)):
            _account(sizes, key, message)
    return sizes or [0]


def _account(sizes: list[int], key: bytes, message: bytes) -> None:
    """Take one table entry into account: the header under the empty key, else where one variable lies."""
    found = {field.number: field.value for field in wire.fields(io.BytesIO(message), 0, len(message))}
    if not key:
        sizes.extend([0] * (found.get(1, 1) - len(sizes)))
        return
    shard, end = found.get(3, 0), found.get(4, 0) + found.get(5, 0)
    if shard >= len(sizes):
        raise wire.TornError(f"it names data file {shard} of {len(sizes)}")
    sizes[shard] = max(sizes[shard], end)


def _handle(table: io.BytesIO, position: int, end: int) -> tuple[tuple[int, int], int]:
    offset, position = wire.varint(table, position, end)
    length, position = wire.varint(table, position, end)
    return (offset, length), position


def _block(data: bytes, offset: int, length: int) -> bytes:
    """Return the entries of a block without the list of restart points after them; empty when it is compressed."""
    block = data[offset : offset + length]
    if len(block) < max(length, 4) or offset + length >= len(data):
        raise wire.TornError(f"a block at byte {offset} is cut off")
    if data[offset + length]:
        return b""
    restarts = struct.unpack("<I", block[-4:])[0]
    return block[: max(0, length - 4 - 4 * restarts)]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    table, position, key = io.BytesIO(block), 0, b""
    while position < len(block):
        shared, position = wire.varint(table, position, len(block))
        fresh, position = wire.varint(table, position, len(block))
        length, position = wire.varint(table, position, len(block))
        if position + fresh + length > len(block):
            raise wire.TornError("an entry is cut off")
        key = key[:shared] + block[position : position + fresh]
        yield key, block[position + fresh : position + fresh + length]
        position += fresh + length
