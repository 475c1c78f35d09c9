"""The downloader against mirrors on loopback: whole files only, resumed, from the first that has them."""

import fcntl
import gzip
import hashlib
import os
import threading

import numpy as np
import pytest

from tensor_jupyter.data import download
from tensor_jupyter.data.download import Remote, fetch, problem
from tensor_jupyter.errors import LabError

CONTENT = np.random.default_rng(1).bytes(300_000)
REMOTE = Remote("file.bin", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def origin(tmp_path):
    """A mirror's folder with file.bin."""
    folder = tmp_path / "origin"
    folder.mkdir()
    (folder / REMOTE.name).write_bytes(CONTENT)
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_and_only_once(tmp_path, origin, mirror):
    here = mirror(origin)
    path = fetch(REMOTE, [here.url], tmp_path / "data")
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["file.bin"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert fetch(REMOTE, [here.url], tmp_path / "data") == path
    assert len(here.requests) == 1


def test_a_connection_that_breaks_is_gone_on_from(tmp_path, origin, mirror):
    here = mirror(origin)
    here.cuts = [100_000, 100_000]
    path = fetch(REMOTE, [here.url], tmp_path / "data")
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in here.requests] == ["", "bytes=100000-", "bytes=200000-"]
    assert names(path.parent) == ["file.bin"]


def test_a_later_try_goes_on_where_an_earlier_one_ended(tmp_path, origin, mirror):
    here = mirror(origin)
    here.cuts = [100_000, 0]
    with pytest.raises(LabError, match="ended after 100000 of 300000 bytes"):
        fetch(REMOTE, [here.url], tmp_path / "data")
    assert not (tmp_path / "data" / REMOTE.name).exists()
    assert fetch(REMOTE, [here.url], tmp_path / "data").read_bytes() == CONTENT
    assert here.requests[-1] == ("file.bin", "bytes=100000-")


def test_parts_of_two_states_of_a_file_are_not_joined(tmp_path, origin, mirror):
    here = mirror(origin)
    here.cuts = [100_000, 0]
    (origin / REMOTE.name).write_bytes(bytes(300_000))
    with pytest.raises(LabError):
        fetch(REMOTE, [here.url], tmp_path / "data")
    (origin / REMOTE.name).write_bytes(CONTENT)
    assert fetch(REMOTE, [here.url], tmp_path / "data").read_bytes() == CONTENT


def test_a_file_that_got_shorter_is_begun_anew(tmp_path, origin, mirror):
    here = mirror(origin)
    here.cuts = [100_000, 0]
    with pytest.raises(LabError):
        fetch(REMOTE, [here.url], tmp_path / "data")
    short = CONTENT[:50_000]
    (origin / REMOTE.name).write_bytes(short)
    validator = next((tmp_path / "data").glob(".*.validator"))
    validator.write_text(f'"{hashlib.sha256(short).hexdigest()}"')
    remote = Remote(REMOTE.name, hashlib.sha256(short).hexdigest())
    assert fetch(remote, [here.url], tmp_path / "data").read_bytes() == short


def test_a_mirror_without_ranges_sends_all_again(tmp_path, origin, mirror):
    here = mirror(origin)
    here.ranges = False
    here.cuts = [100_000]
    assert fetch(REMOTE, [here.url], tmp_path / "data").read_bytes() == CONTENT


def test_another_range_than_requested_is_not_taken(tmp_path, origin, mirror):
    here = mirror(origin)
    here.cuts, here.shift = [100_000], 7
    with pytest.raises(LabError, match="sends bytes 100007-"):
        fetch(REMOTE, [here.url], tmp_path / "data")
    assert names(tmp_path / "data") == []


def test_the_next_mirror_is_tried_and_all_reasons_reported(tmp_path, origin, mirror, dead_mirror):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / REMOTE.name).write_bytes(CONTENT[:-1] + b"!")
    mirrors = [dead_mirror, mirror(tmp_path / "empty").url, mirror(bad).url, origin.as_uri()]
    with pytest.raises(LabError) as raised:
        fetch(REMOTE, mirrors, tmp_path / "data")
    for reason in ("Connection refused", "404", "SHA-256 is", "is not an http address"):
        assert reason in str(raised.value)
    assert names(tmp_path / "data") == []
    assert fetch(REMOTE, [*mirrors, mirror(origin).url], tmp_path / "data").read_bytes() == CONTENT


def test_no_mirror_at_all_is_reported(tmp_path):
    with pytest.raises(LabError, match="no mirror is set"):
        fetch(REMOTE, [], tmp_path / "data")


def test_more_bytes_than_allowed_are_not_taken(tmp_path, origin, mirror, monkeypatch):
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    with pytest.raises(LabError, match="larger than 1000 bytes"):
        fetch(REMOTE, [mirror(origin).url], tmp_path / "data")
    assert names(tmp_path / "data") == []


def test_a_sum_of_the_unpacked_bytes_allows_repacking_but_no_bomb(tmp_path, mirror, monkeypatch):
    folder = tmp_path / "origin"
    folder.mkdir()
    remote = Remote("file.gz", hashlib.sha256(CONTENT).hexdigest(), unpacked=True)
    for level in (1, 9):
        (folder / remote.name).write_bytes(gzip.compress(CONTENT, level))
        fetch(remote, [mirror(folder).url], tmp_path / f"data{level}")
    (folder / remote.name).write_bytes(gzip.compress(bytes(2_000_000)))
    monkeypatch.setattr(download, "MAX_BYTES", 1_000_000)
    with pytest.raises(LabError, match="unpacks to more than 1000000 bytes"):
        fetch(remote, [mirror(folder).url], tmp_path / "data")


def test_without_a_known_sum_the_first_downloads_is_kept(tmp_path, origin, mirror):
    """Size and MD5 say that the first is right; from then on the SHA-256 does."""
    remote = Remote(REMOTE.name, size=len(CONTENT), md5=hashlib.md5(CONTENT, usedforsecurity=False).hexdigest())
    path = fetch(remote, [mirror(origin).url], tmp_path / "data")
    assert (path.parent / "file.bin.sha256").read_text() == f"{REMOTE.sha256}  file.bin\n"
    assert problem(path, remote) == ""
    (path.parent / "file.bin.sha256").write_text(f"{'0' * 64}  file.bin\n")
    assert problem(path, remote).startswith("SHA-256 is")


@pytest.mark.parametrize(
    ("content", "output"), [(CONTENT[:-1], "299999 bytes, wanted 300000"), (bytes(300_000), "MD5")]
)
def test_without_a_known_sum_size_and_md5_are_checked(tmp_path, origin, mirror, content, output):
    remote = Remote(REMOTE.name, size=len(CONTENT), md5=hashlib.md5(CONTENT, usedforsecurity=False).hexdigest())
    (origin / REMOTE.name).write_bytes(content)
    with pytest.raises(LabError, match=output):
        fetch(remote, [mirror(origin).url], tmp_path / "data")
    assert names(tmp_path / "data") == []


def test_two_that_want_the_same_file_get_it_once(tmp_path, origin, mirror):
    """While another has the folder, one waits, and then finds the file there."""
    here, folder, got = mirror(origin), tmp_path / "data", []
    folder.mkdir()
    other = os.open(folder, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    waiting = threading.Thread(target=lambda: got.append(fetch(REMOTE, [here.url], folder)))
    waiting.start()
    (folder / REMOTE.name).write_bytes(CONTENT)
    os.close(other)
    waiting.join(20)
    assert got == [folder / REMOTE.name]
    assert here.requests == []
