"""Checks of untrusted zips before Python's zipfile, which reads the whole list of their entries at once."""

import zipfile
import zlib

from tensor_rest.errors import BadRequestError

MAX_ENTRIES = 1000
"""Files a zip may hold."""

MAX_RATIO = 200
"""How many times its packed size an entry of a zip may unpack to. Pictures hardly pack at all."""

BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, IndexError, OverflowError)
"""What zipfile trips over in a broken or encrypted archive, an empty name and an absurd place among it."""

END = b"PK\x05\x06"
END_BYTES = 22
"""Of the last record, without the comment that may follow; it has the size of the list."""

_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20  # before it in a zip64


def directory_bytes(data: bytes, end: int) -> int:
    """The size of the list of entries, by the record at `end`.

    Raises BadRequestError for a zip64: zipfile would believe another record, made for sizes that are refused anyway.
    """
    if data[max(0, end - _LOCATOR_BYTES) : end].startswith(_LOCATOR):
        raise BadRequestError("The archive is of the kind zip64, for more and larger files than are taken.")
    return int.from_bytes(data[end + 12 : end + 16], "little")
