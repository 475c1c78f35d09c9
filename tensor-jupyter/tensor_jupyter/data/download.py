"""Download a file whose checksum is known, from the first mirror that has it; an interrupted download is resumed.

<folder>/<name>                        the file, complete and checked
<folder>/.<name>.<mirror>.part         what has been downloaded so far
<folder>/.<name>.<mirror>.validator    the mirror's ETag or date of the file: parts of different files are not joined
<folder>/<name>.sha256                 only where no checksum is known beforehand: that of the first download
"""

import contextlib
import fcntl
import gzip
import hashlib
import logging
import os
import urllib.request
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError

from tensor_jupyter.data.progress import shown
from tensor_jupyter.errors import LabError

CONNECT_SECONDS = 4.0
"""Timeout for a mirror that does not respond. Short, because the lab has other data without a network."""

MAX_BYTES = 128 * 2**20
"""The largest file that is downloaded, packed or unpacked."""

_MAX_CONNECTIONS = 20  # to one mirror, one after the other, while each transfers something
_CHUNK = 2**16
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remote:
    """A file on mirrors, and how to check it.

    sha256: of the file, or with `unpacked` of its content unpacked by gzip, for mirrors that repack. Where none is
    known, `size` and `md5` check the first download, whose SHA-256 is kept beside the file to check later ones.
    """

    name: str
    sha256: str = ""
    unpacked: bool = False
    size: int = 0
    md5: str = ""


def fetch(remote: Remote, mirrors: Iterable[str], folder: Path) -> Path:
    """Download `<mirror><name>` into `folder`, with a progress bar, if it is not there; returns the file's path.

    The file appears under its name only when complete and checked. Raises LabError when all mirrors failed, with the
    reason for each; the next call resumes from what has been downloaded so far.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / remote.name
    reasons = []
    with _alone(folder):
        if not problem(target, remote):
            return target
        for mirror in mirrors:
            try:
                return _fetch_from(f"{mirror.rstrip('/')}/{remote.name}", remote, target)
            except (OSError, HTTPException, ValueError) as error:
                reasons.append(f"{mirror}: {error.reason if type(error) is URLError else error}")
                _log.info("%s could not be downloaded from %s: %s", remote.name, mirror, error)
    raise LabError(f"{remote.name} could not be downloaded to {folder} ({'; '.join(reasons) or 'no mirror is set'}).")


def problem(path: Path, remote: Remote) -> str:
    """What is wrong with the file at `path`, "" if it is the right one."""
    try:
        found = _digest(path, "sha256", remote.unpacked)
        wanted = remote.sha256 or _learned(path.parent / f"{remote.name}.sha256")
        if wanted and found != wanted:
            return f"{'unpacked ' if remote.unpacked else ''}SHA-256 is {found[:12]}..., wanted {wanted[:12]}..."
        if remote.size and path.stat().st_size != remote.size:
            return f"has {path.stat().st_size} bytes, wanted {remote.size}"
        if remote.md5 and _digest(path, "md5", unpacked=False) != remote.md5:
            return f"has another MD5 than {remote.md5[:12]}..."
    except (OSError, EOFError, zlib.error, ValueError) as error:
        return str(error)
    return ""


def _fetch_from(url: str, remote: Remote, target: Path) -> Path:
    """Download beside the target, check, rename."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("is not an http address")
    part = target.with_name(f".{target.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")
    for _ in range(_MAX_CONNECTIONS):
        before = _size(part)
        try:
            _continue(url, part)
            break
        except (OSError, HTTPException) as error:
            if _size(part) <= before:
                raise
            _log.info("%s: %s; resuming after %d bytes", url, error, _size(part))
    wrong = problem(part, remote)
    if wrong:
        _forget(part)
        raise ValueError(wrong)
    if not remote.sha256:
        _learn(part, target.with_name(f"{remote.name}.sha256"), remote.name)
    part.chmod(0o644)
    part.replace(target)
    for left in target.parent.glob(f".{target.name}.*"):
        left.unlink()
    return target


def _continue(url: str, part: Path) -> None:
    """Download the rest of `url` to `part`. Raises OSError when the connection ends early."""
    kept = part.with_suffix(".validator")
    state = kept.read_text() if kept.is_file() else ""
    have = _size(part) if state else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": state}
    try:
        answer: HTTPResponse = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=CONNECT_SECONDS
        )
    except HTTPError as error:
        if error.code != 416 or not have:  # Range Not Satisfiable: the file is now shorter than the part here
            raise
        _forget(part)
        return _continue(url, part)
    with answer:
        if answer.status != 206:
            have = 0
            kept.write_text(_validator(answer))
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            _forget(part)
            raise ValueError(f"sends {answer.headers.get('Content-Range')} instead of the rest")
        _save(answer, part, have)
    return None


def _save(answer: HTTPResponse, part: Path, have: int) -> None:
    length = int(answer.headers.get("Content-Length") or 0)
    end = have + length
    name = part.stem[1:].rpartition(".")[0]
    with part.open("ab" if have else "wb") as file, shown(name, end, have, in_bytes=True) as advance:
        while chunk := answer.read(_CHUNK):
            have += len(chunk)
            if max(have, end) > MAX_BYTES:
                file.close()
                _forget(part)
                raise ValueError(f"is larger than {MAX_BYTES} bytes")
            file.write(chunk)
            advance(len(chunk))
    if length and have < end:
        raise ConnectionError(f"ended after {have} of {end} bytes")


def _validator(answer: HTTPResponse) -> str:
    """The value for If-Range: a strong ETag or a date; "" if there is none: the download then starts again."""
    tag = str(answer.headers.get("ETag") or "")
    return tag if tag.startswith('"') else str(answer.headers.get("Last-Modified") or "")


def _digest(path: Path, algorithm: str, unpacked: bool) -> str:
    """The file's checksum. Raises ValueError beyond MAX_BYTES."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    size = 0
    with gzip.open(path) if unpacked and _is_gzip(path) else path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > MAX_BYTES:
                raise ValueError(f"unpacks to more than {MAX_BYTES} bytes")
            digest.update(chunk)
    return digest.hexdigest()


def _is_gzip(path: Path) -> bool:
    """Whether the file is packed: users may have put it there unpacked."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _learned(path: Path) -> str:
    return path.read_text().split(" ")[0].strip() if path.is_file() else ""


def _learn(part: Path, note: Path, name: str) -> None:
    """Write the checksum in the form that `sha256sum -c` reads. An existing one is equal: `problem` has compared it."""
    note.write_text(f"{_digest(part, 'sha256', unpacked=False)}  {name}\n")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_suffix(".validator").unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder: one process downloads at a time; others wait, and then find the file there."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
