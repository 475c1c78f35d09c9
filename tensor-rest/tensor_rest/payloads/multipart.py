"""The files of a form: read within bounds, whatever their fields are called, one or several or packed into a zip.

A form as every client writes it is taken apart here, which costs a few microseconds; anything unusual goes through
Werkzeug's parser, which costs a hundred.
"""

import io
import re
import zipfile

import flask
from werkzeug.datastructures import FileStorage

from tensor_rest.errors import BadRequestError, TooLargeError
from tensor_rest.payloads import zip_archive
from tensor_rest.payloads.zip_archive import MAX_ENTRIES, MAX_RATIO
from tensor_rest.runtime import offload

File = tuple[str, bytes]
"""The name its sender gave it, and what is in it."""

_BOUNDARY = re.compile(r"multipart/form-data; ?boundary=\"?([0-9A-Za-z'()+_,./:=?-]{1,70})\"?")
_HEAD = re.compile(
    rb'\r\nContent-Disposition: form-data; name="[^"\\%\r\n]*"; filename="([^"\\%\r\n]*)"'
    rb"(?:\r\nContent-Type: [\w.+-]+/[\w.+-]+)?"
)
_ZIP = (b"PK\x03\x04", zip_archive.END)  # with entries, without
_ENTRY_BYTES = 1024  # of an entry in the directory, at most: 46 and its name
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNPACKED = 2  # times the largest body is what the zips of a request may unpack to


class FileStream(io.BytesIO):
    """A file of a form in memory; `position` is its place among the files of the form."""

    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position


def image(request: flask.Request) -> bytes:
    """The one file of the form. Raises BadRequestError for none or several, TooLargeError for too large a body."""
    return only(_files(request))


def only(files: list[File]) -> bytes:
    """What is in the one file. Raises BadRequestError for several."""
    if len(files) > 1:
        raise BadRequestError(
            f"This route takes one picture; the form has {len(files)}. POST /tf/models/<model>/classify takes many."
        )
    return files[0][1]


def images(request: flask.Request) -> list[File]:
    """Every file of the form in its order; in place of a zip, those in it (a zip in a zip is a file like any other).

    Raises BadRequestError for none or a broken zip, TooLargeError for too many or too much.
    """
    return opened(_files(request), flask.current_app.config["MAX_CONTENT_LENGTH"])


def opened(files: list[File], most: int) -> list[File]:
    """The same for files that were read, of a request of at most `most` bytes."""
    if not any(data.startswith(_ZIP) for _, data in files):
        _check_count(len(files))
        return files
    found: list[File] = []
    left = _UNPACKED * most  # for all zips together
    for name, data in files:
        if data.startswith(_ZIP):
            inner = offload.run(_unpacked, data, most, left)
            left -= sum(len(content) for _, content in inner)
            found += inner
        else:
            found.append((name, data))
        _check_count(len(found))
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
    """The boundary of a form as every client names it, None for any other Content-Type."""
    found = _BOUNDARY.fullmatch(content_type)
    return found[1].encode() if found else None


def usual(body: bytes, boundary: bytes) -> list[File] | None:
    """The files of a form that holds nothing else, or None for one that is not written as usual."""
    opening = b"--" + boundary
    delimiter = b"\r\n" + opening
    count = body.count(delimiter)
    if not body.startswith(opening) or body.count(opening) != count + 1:  # elsewhere it may be one to a laxer reader
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


def _unpacked(data: bytes, most: int, left: int) -> list[File]:
    """What is in a zip: each file at most `most` bytes, all at most `left`.

    Sizes are checked before anything is unpacked, and again while it is.
    """
    end = len(data) - zip_archive.END_BYTES
    # Else zipfile would look for the record elsewhere.
    if not data.startswith(zip_archive.END, max(0, end)) or data[-2:] != b"\0\0":
        raise BadRequestError("The zip is broken, cut off, or has a comment or more behind its end.")
    if zip_archive.directory_bytes(data, end) > MAX_ENTRIES * _ENTRY_BYTES:
        raise TooLargeError(f"The zip has too many entries; at most {MAX_ENTRIES} files are taken.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            entries = [entry for entry in packed.infolist() if not _is_clutter(entry)]
            _check_entries(entries, most, left)
            # Never more than was declared: read() without a size unpacks all there is and then cuts it.
            return [(entry.filename, packed.open(entry).read(entry.file_size)) for entry in entries]
    except zip_archive.BROKEN as error:
        raise BadRequestError(f"The zip cannot be unpacked: {error}.") from error


def _is_clutter(entry: zipfile.ZipInfo) -> bool:
    """Folders, and what file managers add."""
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
