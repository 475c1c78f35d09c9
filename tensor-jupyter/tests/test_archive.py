"""Images in tar archives: those that are as they should be, and those that were made to do harm."""

import gzip
import io
import tarfile

import pytest
from PIL import Image

from tensor_jupyter.data import archive, load
from tensor_jupyter.errors import LabError


def image_file(grey):
    file = io.BytesIO()
    Image.new("L", (8, 8), grey).save(file, "PNG")
    return file.getvalue()


def packed(path, members, mode="w:gz"):
    """A tar of (name or TarInfo, content) in their order."""
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def special(name, kind, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


GOOD = [
    (f"set/{label}/{number}.png", image_file(20 * number + len(label))) for label in ("a", "bb") for number in range(8)
]


@pytest.mark.parametrize(
    ("name", "mode"), [("set.tar", "w"), ("set.tar.gz", "w:gz"), ("set.tgz", "w:gz"), ("set.TGZ", "w:gz")]
)
def test_images_by_class(tmp_path, name, mode):
    extra = [("set/README.txt", b"hello"), ("set/.hidden/1.png", image_file(1)), ("set/a/._1.png", b"x")]
    data = load(packed(tmp_path / name, [*GOOD, *extra], mode))
    assert (data.name, data.labels, data.unreadable) == ("set", ("a", "bb"), 0)
    assert len(data.train) + len(data.test) == 16
    assert list(tmp_path.iterdir()) == [tmp_path / name]  # nothing was unpacked


def test_parts_of_their_own_are_kept(tmp_path):
    members = [(f"{part}/a/{n}.png", image_file(40 * n + len(part))) for part in ("train", "test") for n in range(3)]
    data = load(packed(tmp_path / "set.tar", members, "w"))
    assert (len(data.train), len(data.test), data.split) == (3, 3, "the set's own training and test images")


def test_unreadable_members_are_counted(tmp_path):
    data = load(packed(tmp_path / "set.tar.gz", [*GOOD, ("set/a/broken.png", b"x"), ("set/bb/empty.png", b"")]))
    assert data.unreadable == 2


def sparse(name):
    """A member that says, in GNU's words, that it has holes."""
    member = tarfile.TarInfo(name)
    member.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,1",
        "GNU.sparse.size": "9",
    }
    return member


@pytest.mark.parametrize(
    ("member", "output"),
    [
        ("../evil.png", "leads out of it"),
        ("set/../../evil.png", "leads out of it"),
        ("/etc/evil.png", "leads out of it"),
        ("set\\..\\evil.png", "leads out of it"),
        (special("set/a/link.png", tarfile.SYMTYPE, "/etc/passwd"), "a link or a device"),
        (special("set/a/hard.png", tarfile.LNKTYPE, "set/a/1.png"), "a link or a device"),
        (special("set/a/null.png", tarfile.CHRTYPE), "a link or a device"),
        (special("set/a/disk.png", tarfile.BLKTYPE), "a link or a device"),
        (special("set/a/pipe.png", tarfile.FIFOTYPE), "a link or a device"),
        (sparse("set/a/sparse.png"), "a link or a device"),
    ],
    ids=str,
)
def test_an_archive_made_to_do_harm_is_not_read(tmp_path, member, output):
    with pytest.raises(LabError, match=output):
        load(packed(tmp_path / "set.tar.gz", [*GOOD, (member, b"")]))


def test_more_members_than_allowed_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_IMAGES", 10)
    with pytest.raises(LabError, match="more than 10 members"):
        load(packed(tmp_path / "set.tar.gz", GOOD))


def test_a_member_larger_than_allowed_is_refused(tmp_path):
    with pytest.raises(LabError, match=f"of {archive.MAX_BYTES + 1} bytes; at most {archive.MAX_BYTES} are read"):
        load(packed(tmp_path / "set.tar.gz", [*GOOD, ("set/a/large.png", bytes(archive.MAX_BYTES + 1))]))


def test_an_archive_that_unpacks_to_more_than_allowed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNPACKED", 2**20)
    large = [(f"set/a/{number}.png", bytes(2**18)) for number in range(8)]
    with pytest.raises(LabError, match="unpacks to more than 1048576 bytes"):
        load(packed(tmp_path / "set.tar.gz", large))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_header_of_megabytes_is_not_read(tmp_path, kind):
    """Long names and extended headers are read into memory at once, and gzip makes gigabytes of a few bytes."""
    header = special("long", kind)
    header.size = 2 * 2**20
    with gzip.open(tmp_path / "set.tar.gz", "wb", compresslevel=1) as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT) + bytes(4 * 2**20))
    with pytest.raises(LabError, match="2097152 bytes are announced where at most 1048576 are read"):
        load(tmp_path / "set.tar.gz")


@pytest.mark.parametrize(
    "content", [b"", b"no archive at all", gzip.compress(b"no tar in here"), b"\x1f\x8b" + bytes(50)]
)
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "set.tar.gz").write_bytes(content)
    with pytest.raises(LabError, match=r"set\.tar\.gz (cannot be read as a tar archive|has no images by class)"):
        load(tmp_path / "set.tar.gz")


def test_an_archive_that_ends_early_is_refused(tmp_path):
    path = packed(tmp_path / "set.tar.gz", GOOD)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(LabError, match="cannot be read as a tar archive"):
        load(path)


@pytest.mark.parametrize("members", [[("1.png", image_file(1))], [("a/notes.txt", b"x")]])
def test_an_archive_without_images_by_class_is_refused(tmp_path, members):
    with pytest.raises(LabError, match="no images by class"):
        load(packed(tmp_path / "set.tar.gz", members))
