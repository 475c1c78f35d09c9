"""Reader of IDX, the format of MNIST: magic `0 0 type dimensions`, the sizes as big-endian uint32, then the values.

Files are not trusted: nothing is unpacked or allocated before the header has been checked.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from tensor_jupyter.errors import LabError

MAX_BYTES = 256 * 2**20
"""The largest number of values (one byte each) in a file; MNIST's largest file has 47 million."""

_UINT8 = 0x08


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The uint8 array of an IDX file, gzipped when its name ends in .gz.

    Raises LabError when it is not a whole IDX file of uint8 with that many dimensions.
    """
    try:
        with cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as stream:
            shape = _read_shape(stream, path, dimensions)
            size = math.prod(shape)
            values = stream.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise LabError(f"{path.name} cannot be read ({error}); remove it and get it anew.") from error
    if len(values) != size:
        found = f"{len(values)} bytes" if len(values) < size else "more"
        raise LabError(f"{path.name} announces {size} values but holds {found}; remove it and get it anew.")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _read_shape(stream: BinaryIO, path: Path, dimensions: int) -> tuple[int, ...]:
    magic = stream.read(4)
    if magic != bytes([0, 0, _UINT8, dimensions]):
        raise LabError(
            f"{path.name} starts with {magic.hex() or 'nothing'}: "
            f"not an IDX file of uint8 with {dimensions} dimensions; get it anew."
        )
    sizes = stream.read(4 * dimensions)
    if len(sizes) != 4 * dimensions:
        raise LabError(f"{path.name} ends inside its header; remove it and get it anew.")
    shape: tuple[int, ...] = struct.unpack(f">{dimensions}I", sizes)
    if math.prod(shape) > MAX_BYTES:
        raise LabError(f"{path.name} announces {math.prod(shape)} values; at most {MAX_BYTES} are read.")
    return shape
