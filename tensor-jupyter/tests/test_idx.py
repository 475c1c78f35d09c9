"""The IDX reader: what is right is read, what is wrong is named, and nothing large is believed."""

import gzip
import struct

import numpy as np
import pytest

from tensor_jupyter.data.idx import MAX_BYTES, read_idx
from tensor_jupyter.errors import LabError

HEAD = bytes([0, 0, 8, 3]) + struct.pack(">III", 2, 2, 2)
PACKED = gzip.compress(HEAD + bytes(8), compresslevel=0)


@pytest.mark.parametrize("name", ["two.gz", "two"])
def test_reads_gzipped_and_plain_files(tmp_path, write_idx, name):
    images = np.arange(8).reshape(2, 2, 2)
    read = read_idx(write_idx(tmp_path / name, images), 3)
    assert read.dtype == np.uint8
    assert read.tolist() == images.tolist()


@pytest.mark.parametrize(
    ("content", "output"),
    [
        (b"", "starts with nothing"),
        (b"<html>not found</html>", "starts with 3c68746d"),
        (bytes([0, 0, 13, 3]) + HEAD[4:] + bytes(8), "not an IDX file of uint8"),
        (bytes([0, 0, 8, 1]) + HEAD[4:8] + bytes(2), "with 3 dimensions"),
        (HEAD[:10], "ends inside its header"),
        (HEAD + bytes(7), "announces 8 values but holds 7 bytes"),
        (HEAD + bytes(9), "announces 8 values but holds more"),
        (bytes([0, 0, 8, 3]) + struct.pack(">III", 2**32 - 1, 2**32 - 1, 28), f"at most {MAX_BYTES} are read"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_refuses_rubbish_and_reports_what_it_found(tmp_path, content, output, packed):
    path = tmp_path / ("file.gz" if packed else "file")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(LabError, match=output):
        read_idx(path, 3)


@pytest.mark.parametrize(
    "content", [PACKED[:-12], b"no gzip", PACKED[:10] + b"\xff" * 30], ids=["cut", "text", "overwritten"]
)
def test_refuses_broken_gzip(tmp_path, content):
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    with pytest.raises(LabError, match=r"file\.gz"):
        read_idx(path, 3)


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    """A header of eight values, and 200 MB behind it: only as much is unpacked as the header announces."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(HEAD + bytes(200 * 2**20), compresslevel=1))
    with pytest.raises(LabError, match="holds more"):
        read_idx(path, 3)
