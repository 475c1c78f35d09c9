"""Images by class in a tar archive, read without unpacking it to the disk.

Archives are not trusted. One that contains paths leading out of it, links, devices or sparse files is refused as a
whole, and headers and members are read only up to the limits here, whatever sizes they announce.
"""

import gzip
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from tensor_jupyter.data.collect import MAX_IMAGES, Found, collect
from tensor_jupyter.data.dataset import Dataset, ImageSpec
from tensor_jupyter.data.folders import parts_of
from tensor_jupyter.data.image_files import MAX_BYTES, SUFFIXES
from tensor_jupyter.errors import LabError

MAX_UNPACKED = 512 * 2**20
"""The most bytes an archive may unpack to: its images are kept in memory."""

_MAX_HEADER = 2**20  # bytes read at once, such as for a long name


def read_archive(path: Path, wanted: ImageSpec | None = None, name: str = "") -> Dataset:
    """The images of a .tar, .tar.gz or .tgz, labelled by the folder they lie in; one folder around all is ignored.

    Raises LabError for an archive that is broken, too large or hostile, and for one without images by class.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
            with tarfile.open(fileobj=_Bounded(stream), mode="r:") as archive:  # type: ignore[call-overload]
                members = _members(archive, path.name)
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise LabError(f"{path.name} cannot be read as a tar archive ({error}); get it anew.") from error
    found = _labelled(members)
    if not found:
        raise LabError(f"{path.name} has no images by class: expected a folder for each label with images in it.")
    return collect(name or path.name.split(".")[0], found, wanted)


class _Bounded:
    """A stream that limits how much is read: tarfile trusts the sizes in headers."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.largest = _MAX_HEADER

    def read(self, size: int) -> bytes:
        if size > self.largest:
            raise ValueError(f"{size} bytes are announced where at most {self.largest} are read")
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        if position > MAX_UNPACKED:
            raise ValueError(f"it unpacks to more than {MAX_UNPACKED} bytes")
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()


def _members(archive: tarfile.TarFile, name: str) -> list[tuple[PurePosixPath, bytes]]:
    """Path and content of every image, in the archive's order."""
    members = []
    bounded = cast(_Bounded, archive.fileobj)
    for number, member in enumerate(archive):
        if number > MAX_IMAGES:
            raise LabError(f"{name} has more than {MAX_IMAGES} members.")
        path = _checked(member, name)
        if member.isdir() or path.suffix.lower() not in SUFFIXES or any(part[0] == "." for part in path.parts):
            continue
        bounded.largest = MAX_BYTES
        content = archive.extractfile(member)
        members.append((path, content.read() if content else b""))
        bounded.largest = _MAX_HEADER
    return members


def _checked(member: tarfile.TarInfo, name: str) -> PurePosixPath:
    """The member's path. Raises LabError for members that a data set does not need but an attack uses."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
        raise LabError(f"{name} holds {member.name[:80]!r}, a name that leads out of it: the archive is not read.")
    if not (member.isdir() or member.isreg()) or member.issparse():
        raise LabError(f"{name} holds {member.name[:80]!r}, a link or a device: the archive is not read.")
    if member.size > MAX_BYTES:
        raise LabError(f"{name} holds {member.name[:80]!r} of {member.size} bytes; at most {MAX_BYTES} are read.")
    return path


def _labelled(members: list[tuple[PurePosixPath, bytes]]) -> list[Found]:
    """Return the images with labels: the first folder in which paths differ, below train/ and test/ if these exist."""
    paths = [path.parts for path, _ in members]
    while paths and len({path[0] for path in paths}) == 1 and min(map(len, paths)) > 2:
        paths = [path[1:] for path in paths]
    parts = parts_of(sorted({path[0] for path in paths if len(path) > 1}))
    found = []
    for (path, content), shorter in zip(members, paths, strict=True):
        part, rest = (parts[shorter[0]], shorter[1:]) if shorter[0] in parts else ("", shorter)
        if len(rest) > 1:
            found.append(Found(content, rest[0], part, str(path)))
    return found
