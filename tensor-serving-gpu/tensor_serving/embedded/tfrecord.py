"""Reading TFRecord files: each record is its length, a checksum of the length, the data, a checksum of the data."""

import struct
from collections.abc import Iterator
from pathlib import Path

import grpc

from tensor_serving.embedded.errors import ServingError

_MAX_BYTES = 64 * 1024 * 1024  # as the largest message, so that a corrupt length cannot make the server allocate more
_HEAD, _TAIL = struct.Struct("<QI"), struct.Struct("<I")
_POLYNOMIAL = 0x82F63B78  # CRC-32C, bits reversed


def records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file. Raises ServingError DATA_LOSS if one is cut off or a checksum does not match."""
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            start = file.tell() - len(head)
            if len(head) < _HEAD.size:
                raise _lost("truncated", start)
            length, checksum = _HEAD.unpack(head)
            if checksum != _masked_crc(head[:8]) or length > _MAX_BYTES:
                raise _lost("corrupted", start)
            data, tail = file.read(length), file.read(_TAIL.size)
            if len(data) < length or len(tail) < _TAIL.size:
                raise _lost("truncated", start)
            if _TAIL.unpack(tail)[0] != _masked_crc(data):
                raise _lost("corrupted", start)
            yield data


def _lost(how: str, start: int) -> ServingError:
    text = f"{how} record at {start}. Please verify your warmup data is in TFRecord format."
    return ServingError(grpc.StatusCode.DATA_LOSS, text)


def _steps() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (_POLYNOMIAL if number & 1 else 0)
        table.append(number)
    return table


_TABLE = _steps()


def _masked_crc(data: bytes) -> int:
    """Return the CRC-32C as the format stores it: masked, so that it stays useful for data that contain checksums."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return (crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF
