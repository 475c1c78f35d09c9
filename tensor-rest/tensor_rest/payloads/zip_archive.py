"""Checks of untrusted zips before Python's zipfile opens them and reads their whole directory at once."""

import zipfile
import zlib

from tensor_rest.errors import BadRequestError

MAX_ENTRIES = 1000
"""Files a zip may hold."""

MAX_RATIO = 200
"""How many times its packed size an entry of a zip may unpack to. Images hardly compress any further."""

BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, IndexError, OverflowError)
"""What zipfile raises for a broken or encrypted archive, also for an empty name or an invalid offset in it."""

END = b"PK\x05\x06"
END_BYTES = 22
"""Size of the end record, without the comment that may follow; the record has the size of the directory."""

_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20  # before the end record in a zip64


def directory_bytes(data: bytes, end: int) -> int:
    """Return the size of the directory, by the end record at `end`.

    Raises BadRequestError for a zip64: zipfile would use another record, made for sizes that are refused anyway.
    """
    if data[max(0, end - _LOCATOR_BYTES) : end].startswith(_LOCATOR):
        raise BadRequestError("The archive is of the kind zip64, for more and larger files than are taken.")
    return int.from_bytes(data[end + 12 : end + 16], "little")
