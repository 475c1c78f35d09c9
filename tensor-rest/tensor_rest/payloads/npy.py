"""NumPy's .npy and .npz as bodies, without pickle; every limit is checked before memory is allocated."""

import ast
import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tensor_rest.backend.tensors import BFLOAT16, from_bfloat16
from tensor_rest.errors import BadRequestError, TooLargeError
from tensor_rest.payloads import zip_archive

NPY = "application/x-npy"
NPZ = "application/x-npz"

_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 10_000  # the limit of NumPy's own reader
_KINDS = "biufcSU"
_MAX_ARRAYS = 64  # of an .npz
_MAX_DIRECTORY_BYTES = _MAX_ARRAYS * 512  # bytes of the list at the end of an .npz
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MAX_TEXTS = 1_000_000  # in all arrays of a body: each takes some 60 bytes of memory besides its own
_MAX_TEXT_BYTES = 64 << 20  # bytes of an array of texts: each takes as much as the longest

Array = np.ndarray[Any, Any]


def loads(data: bytes) -> Array:
    """Return the array of an .npy file; texts become an object array of bytes.

    Raises TooLargeError for over a million texts, BadRequestError for any other invalid file.
    """
    dtype, in_columns, shape, start = _header(data)
    count = math.prod(shape)
    if len(data) - start != count * dtype.itemsize:
        raise BadRequestError(
            f"The .npy declares {list(shape)} of {dtype}, {count * dtype.itemsize} bytes; it has {len(data) - start}."
        )
    if dtype.kind in "SU":
        _check_texts(count)
    flat = np.frombuffer(data, dtype, count, start) if dtype.itemsize else np.zeros(count, dtype)
    return _texts(flat.reshape(shape, order="F" if in_columns else "C"))


def unpacked_bytes(data: bytes, max_bytes: int) -> int:
    """The bytes that an .npz unpacks to, as it declares them. Raises as `loads_all` does."""
    with _opened(data, max_bytes) as archive:
        return _size(archive)


def loads_all(data: bytes, max_bytes: int) -> dict[str, Array]:
    """The arrays of an .npz by name, at most 64 and `max_bytes` in all. Raises BadRequestError or TooLargeError."""
    with _opened(data, max_bytes) as archive:
        arrays: dict[str, Array] = {}
        for entry in archive.infolist():
            with archive.open(entry) as file:  # reads no more than was declared
                arrays[_name(entry)] = loads(file.read(entry.file_size))
            _check_texts(sum(array.size for array in arrays.values() if array.dtype.hasobject))
        return arrays


def dumps(array: Array) -> bytes:
    """An .npy file of numbers, bools or texts (bytes)."""
    file = io.BytesIO()
    np.lib.format.write_array(file, _plain(array), allow_pickle=False)
    return file.getvalue()


def dumps_all(arrays: Mapping[str, Array]) -> bytes:
    """An .npz file, not compressed, of the arrays by name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", dumps(array))
    return file.getvalue()


def _header(data: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...], int]:
    """Return dtype, whether the order is Fortran's, shape, and where the values begin."""
    if data[:6] != _MAGIC or len(data) < 12:
        raise BadRequestError("This is not an .npy file: it does not begin with \\x93NUMPY. numpy.save writes one.")
    wide = data[6] > 1
    start = 12 if wide else 10
    length = int.from_bytes(data[8:start], "little")
    if length > _MAX_HEADER_BYTES or start + length > len(data):
        raise BadRequestError(f"The .npy has a header of {length} bytes; at most {_MAX_HEADER_BYTES} are taken.")
    try:
        header = ast.literal_eval(data[start : start + length].decode("utf-8" if data[6] > 2 else "latin1"))
        dtype, shape, in_columns = np.dtype(header["descr"]), header["shape"], header["fortran_order"]
    except Exception as error:  # errors of a hostile header: syntax, recursion, keys, types
        raise BadRequestError("The .npy has a header that cannot be read.") from error
    if dtype.kind not in _KINDS or dtype.subdtype:
        raise BadRequestError(f"The .npy holds {dtype}; wanted numbers, bools or texts (never pickled objects).")
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 1 << 40 for size in shape):
        raise BadRequestError("The .npy has a shape that is not a tuple of sizes.")
    if len(shape) > 32 or (dtype.itemsize == 0 and math.prod(shape) > len(data)):
        raise BadRequestError("The .npy has more dimensions or values than its bytes can hold.")
    return dtype, bool(in_columns), shape, start + length


def _checked(data: bytes) -> bytes:
    """Return `data` if the directory at its end is short: zipfile reads all of it at once."""
    end = data.rfind(zip_archive.END, max(0, len(data) - 65_557))
    if end < 0 or len(data) < end + zip_archive.END_BYTES:
        raise BadRequestError("This is not an .npz file: a zip's end record is missing. numpy.savez writes one.")
    if zip_archive.directory_bytes(data, end) > _MAX_DIRECTORY_BYTES:
        raise TooLargeError(f"The .npz lists too much; at most {_MAX_ARRAYS} arrays are taken.")
    return data


@contextmanager
def _opened(data: bytes, max_bytes: int) -> Iterator[zipfile.ZipFile]:
    """Open an .npz, and check what it declares before anything is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(_checked(data))) as archive:
            entries = archive.infolist()
            if not 0 < len(entries) <= _MAX_ARRAYS:
                raise BadRequestError(f"The .npz holds {len(entries)} arrays; wanted 1 to {_MAX_ARRAYS}.")
            for entry in entries:
                if entry.compress_type not in _PACKED:
                    raise BadRequestError(
                        f"{entry.filename[:80]!r} in the .npz is packed in an unusual way; deflate is read."
                    )
            if _size(archive) > max_bytes:
                raise TooLargeError("The .npz unpacks to too many bytes.")
            yield archive
    except zip_archive.BROKEN as error:
        raise BadRequestError(f"The .npz cannot be read: {error}.") from error


def _size(archive: zipfile.ZipFile) -> int:
    return sum(entry.file_size for entry in archive.infolist())


def _check_texts(number: int) -> None:
    if number > _MAX_TEXTS:
        raise TooLargeError(f"The body has {number:,} texts; at most {_MAX_TEXTS:,} are taken.")


def _name(entry: zipfile.ZipInfo) -> str:
    return entry.filename.removesuffix(".npy")


def _texts(array: Array) -> Array:
    """Return texts as an object array of bytes, the form of DT_STRING."""
    if array.dtype.kind not in "SU":
        return array
    out = np.empty(array.shape, object)
    items = array.ravel().tolist()
    out.ravel()[:] = [item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item for item in items]
    return out


def _plain(array: Array) -> Array:
    """Return an array without objects; bfloat16 as float32. Raises BadRequestError for texts that .npy cannot hold."""
    if array.dtype == BFLOAT16:
        array = from_bfloat16(array)
    if not array.dtype.hasobject:
        return np.asarray(array, order="C")
    items = array.ravel().tolist()
    if max(map(len, items), default=0) * len(items) > _MAX_TEXT_BYTES or any(item.endswith(b"\0") for item in items):
        raise BadRequestError("These texts cannot be written as .npy; send Accept: application/json.")
    return array.astype(bytes)
