"""Limits the number of chunks, segments, blocks and scans of an image's file before Pillow reads them one by one.

Nine megabytes of empty comments are a valid PNG, JPEG or GIF, and take Pillow seven seconds; a JPEG of 200 KB with five
thousand scans takes it ninety.
"""

from collections.abc import Callable

from tensor_rest.errors import BadRequestError

MAX_SEGMENTS = 4096
"""Chunks, segments or blocks before the pixels. A PNG of 10 MB, written as usual, has 1,300."""

MAX_SCANS = 32
"""Scans (passes over the whole image) that a progressive JPEG may have; 3 to 14 are usual."""

_JPEG_SCAN = b"\xff\xda"


def check(data: bytes) -> None:
    """Raise BadRequestError if the PNG, JPEG or GIF in `data` has too many segments or scans. Takes 2 ms at most."""
    for signature, count in _COUNTERS.items():
        if data.startswith(signature) and count(data) > MAX_SEGMENTS:
            raise BadRequestError(f"The image has more than {MAX_SEGMENTS} chunks or segments before its pixels.")
    if data.startswith(b"\xff\xd8") and (scans := data.count(_JPEG_SCAN)) > MAX_SCANS:
        raise BadRequestError(f"The JPEG has {scans} scans; at most {MAX_SCANS} are taken.")


def _png(data: bytes) -> int:
    at, found = 8, 0
    while at < len(data) and found <= MAX_SEGMENTS:
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        found += 1
    return found


def _jpeg(data: bytes) -> int:
    at, found = 2, 0
    while at + 1 < len(data) and found <= MAX_SEGMENTS:
        found += 1
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:  # junk, or padding
            at += 1
        elif marker == 0xDA:
            break
        elif marker <= 0x01 or 0xD0 <= marker <= 0xD9:  # these have no length
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return found


def _gif(data: bytes) -> int:
    flags = data[10] if len(data) > 10 else 0
    at, found = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0), 0
    while at < len(data) and data[at] not in b",;" and found <= MAX_SEGMENTS:
        found += 1
        if data[at] != ord("!"):  # junk
            at += 1
            continue
        at += 2
        while at < len(data) and data[at] and found <= MAX_SEGMENTS:
            at += 1 + data[at]
            found += 1
        at += 1
    return found


_COUNTERS: dict[bytes, Callable[[bytes], int]] = {b"\x89PNG\r\n\x1a\n": _png, b"\xff\xd8": _jpeg, b"GIF8": _gif}
