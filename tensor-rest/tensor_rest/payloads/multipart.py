"""The files of a form: read within limits, from fields of any name, one or several or packed into a zip.

A form as most clients write it is parsed here, in a few microseconds; any other form is passed to Werkzeug's parser,
which takes a hundred.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import flask
from werkzeug.datastructures import FileStorage

from tensor_rest.errors import BadRequestError, TooLargeError
from tensor_rest.payloads import body_memory, zip_archive
from tensor_rest.payloads.zip_archive import MAX_ENTRIES, MAX_RATIO
from tensor_rest.runtime import offload

File = tuple[str, bytes]
"""The file's name as the client sent it, and its content."""

_BOUNDARY = re.compile(r"multipart/form-data; ?boundary=\"?([0-9A-Za-z'()+_,./:=?-]{1,70})\"?")
_HEAD = re.compile(
    rb'\r\nContent-Disposition: form-data; name="[^"\\%\r\n]*"; filename="([^"\\%\r\n]*)"'
    rb"(?:\r\nContent-Type: [\w.+-]+/[\w.+-]+)?"
)
_ZIP = (b"PK\x03\x04", zip_archive.END)  # with entries, without
_ENTRY_BYTES = 1024  # of an entry in the directory, at most: 46 and its name
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNPACKED = 2  # the zips of a request may unpack to this many times the largest body


class Zip(NamedTuple):
    """An open zip, and the files in it that are read."""

    packed: zipfile.ZipFile
    entries: list[zipfile.ZipInfo]

    @property
    def size(self) -> int:
        """The bytes that the files unpack to, as the zip declares them."""
        return sum(entry.file_size for entry in self.entries)


class FileStream(io.BytesIO):
    """A file of a form in memory; `position` is its place among the files of the form."""

    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position


def image(request: flask.Request) -> bytes:
    """The one file of the form. Raises BadRequestError for none or several, TooLargeError for too large a body."""
    return only(_files(request))


def only(files: list[File]) -> bytes:
    """Return the content of the only file. Raises BadRequestError for several."""
    if len(files) > 1:
        raise BadRequestError(
            f"This route takes one image; the form has {len(files)}. POST /tf/models/<model>/classify takes many."
        )
    return files[0][1]


def images(request: flask.Request) -> list[File]:
    """Return every file of the form in order, and the files in a zip instead of the zip (but not of zips inside it).

    Raises BadRequestError for no file or a broken zip, TooLargeError for too many files or bytes.
    """
    return opened(_files(request), flask.current_app.config["MAX_CONTENT_LENGTH"])


def opened(files: list[File], most: int) -> list[File]:
    """Return the files with each zip replaced by those in it; `most` is the limit of the request's body in bytes."""
    if not any(data.startswith(_ZIP) for _, data in files):
        _check_count(len(files))
        return files
    zips: dict[int, Zip] = {}
    left, count = _UNPACKED * most, len(files)  # `left`: bytes for all zips together
    for place, (_, data) in enumerate(files):
        if data.startswith(_ZIP):
            zips[place] = opened_zip = offload.run(_opened_zip, data, most, left)
            left -= opened_zip.size
            count += len(opened_zip.entries) - 1
        _check_count(count)
    body_memory.reserve(sum(len(files[place][1]) for place in zips), sum(each.size for each in zips.values()))
    found: list[File] = []
    for place, file in enumerate(files):
        found += offload.run(_unpacked, zips[place]) if place in zips else [file]
    return found


def _files(request: flask.Request) -> list[File]:
    between = boundary(request.environ.get("CONTENT_TYPE", ""))
    found = usual(request.get_data(), between) if between else None
    if found is None:
        uploads = sorted((upload for _, upload in request.files.items(multi=True)), key=_position)
        found = _chosen([(upload.filename or "", upload.read()) for upload in uploads])
    if not found:
        raise BadRequestError(
            "Send the image as a file of multipart/form-data, as in curl -F image=@digit.png; this request has no file."
        )
    return found


def _position(upload: FileStorage) -> int:
    """The place in the form: Werkzeug groups the files by field."""
    return upload.stream.position if isinstance(upload.stream, FileStream) else 0


def _chosen(files: list[File]) -> list[File]:
    """The files without those of file inputs where no file was chosen: browsers send them without name and content."""
    return [file for file in files if file != ("", b"")]


def boundary(content_type: str) -> bytes | None:
    """Return the boundary of a form as most clients write it; None for any other Content-Type."""
    found = _BOUNDARY.fullmatch(content_type)
    return found[1].encode() if found else None


def usual(body: bytes, boundary: bytes) -> list[File] | None:
    """Return the files of a form that has only files; None for a form that is not written in the usual way."""
    opening = b"--" + boundary
    delimiter = b"\r\n" + opening
    count = body.count(delimiter)
    if not body.startswith(opening) or body.count(opening) != count + 1:  # a laxer parser may see one elsewhere
        return None
    _check_count(count)
    *parts, end = body[len(opening) :].split(delimiter)
    if end not in (b"--\r\n", b"--"):
        return None
    found = []
    for part in parts:
        head, blank, content = part.partition(b"\r\n\r\n")
        match = _HEAD.fullmatch(head)
        if not blank or match is None:
            return None
        found.append((match[1].decode(errors="replace"), content))
    return _chosen(found)


def _opened_zip(data: bytes, most: int, left: int) -> Zip:
    """Open a zip and check the sizes of its files before anything is unpacked: each at most `most`, all at most `left`.

    They are checked again during unpacking.
    """
    end = len(data) - zip_archive.END_BYTES
    # Else zipfile would look for the record elsewhere.
    if not data.startswith(zip_archive.END, max(0, end)) or data[-2:] != b"\0\0":
        raise BadRequestError("The zip is broken, cut off, or has a comment or other data after its end.")
    if zip_archive.directory_bytes(data, end) > MAX_ENTRIES * _ENTRY_BYTES:
        raise TooLargeError(f"The zip has too many entries; at most {MAX_ENTRIES} files are taken.")
    with _zip_errors():
        packed = zipfile.ZipFile(io.BytesIO(data))
        entries = [entry for entry in packed.infolist() if not _is_clutter(entry)]
        _check_entries(entries, most, left)
        return Zip(packed, entries)


def _unpacked(opened_zip: Zip) -> list[File]:
    """Return the files in a zip."""
    with _zip_errors(), opened_zip.packed as packed:
        # Reads no more than was declared: read() without a size unpacks everything and then cuts it.
        return [(entry.filename, packed.open(entry).read(entry.file_size)) for entry in opened_zip.entries]


@contextmanager
def _zip_errors() -> Iterator[None]:
    try:
        yield
    except zip_archive.BROKEN as error:
        raise BadRequestError(f"The zip cannot be unpacked: {error}.") from error


def _is_clutter(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a folder, or a file that a file manager added."""
    *folders, name = entry.filename.split("/")
    return entry.is_dir() or name.startswith(".") or "__MACOSX" in folders


def _check_entries(entries: list[zipfile.ZipInfo], most: int, left: int) -> None:
    if not entries:
        raise BadRequestError("The zip holds no files.")
    _check_count(len(entries))
    if any(entry.flag_bits & 1 or entry.compress_type not in _METHODS for entry in entries):
        raise BadRequestError("The zip is encrypted or packed in an unusual way; wanted stored or deflated.")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > left:
        raise TooLargeError(
            f"A zip unpacks to {unpacked} bytes; at most {_UNPACKED * most} are taken of all in a request together, "
            f"and {left} are left."
        )
    for entry in entries:
        if entry.file_size > most or entry.file_size > MAX_RATIO * max(1, entry.compress_size):
            raise TooLargeError(
                f"{entry.filename[:80]!r} in the zip unpacks from {entry.compress_size} to {entry.file_size} bytes; "
                f"at most {most}, and {MAX_RATIO} times its packed size, are taken."
            )


def _check_count(number: int) -> None:
    if number > MAX_ENTRIES:
        raise TooLargeError(f"The request has {number} files; at most {MAX_ENTRIES} are taken.")
