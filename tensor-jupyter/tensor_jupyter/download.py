"""Fetching a file with a known checksum from the first mirror that has it."""

import gzip
import hashlib
import logging
import os
import tempfile
import urllib.request
import zlib
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO

from rich.progress import wrap_file

from tensor_jupyter.errors import LabError

CONNECT_SECONDS = 4.0
"""How long a mirror may stay silent. Short, because without a network the lab has other data."""

MAX_BYTES = 128 * 2**20
"""The most that is taken from a mirror, packed or unpacked."""

_CHUNK = 2**16
_log = logging.getLogger(__name__)


def fetch_gzip(name: str, sha256: str, mirrors: Iterable[str], folder: Path) -> Path:
    """Get `<mirror><name>` into `folder`, shown as a progress bar; returns the file's path.

    sha256 is that of the unpacked bytes, because mirrors repack. The file appears under its name only when whole and
    right. Raises LabError when no mirror could give it, with the reason for each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reasons = []
    for mirror in mirrors:
        try:
            return _fetch_from(f"{mirror.rstrip('/')}/{name}", sha256, folder / name)
        except (OSError, HTTPException, EOFError, zlib.error, ValueError) as error:
            reasons.append(f"{mirror}: {error}")
            _log.info("%s not from %s: %s", name, mirror, error)
    raise LabError(f"{name} could not be downloaded ({'; '.join(reasons) or 'no mirror is set'}).")


def unpacked_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, unpacked when its name ends in .gz. Raises ValueError beyond MAX_BYTES."""
    digest = hashlib.sha256()
    size = 0
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > MAX_BYTES:
                raise ValueError(f"unpacks to more than {MAX_BYTES} bytes")
            digest.update(chunk)
    return digest.hexdigest()


def _fetch_from(url: str, sha256: str, target: Path) -> Path:
    """Download to a temporary name beside the target, check, rename."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("is not an http address")
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".download-", suffix=".gz")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer:
            length = int(answer.headers.get("Content-Length") or 0)
            with wrap_file(answer, length, description=target.name, transient=True) as stream:
                _copy(stream, file)
        found = unpacked_sha256(part)
        if found != sha256:
            raise ValueError(f"unpacked SHA-256 is {found[:12]}..., wanted {sha256[:12]}...")
        part.chmod(0o644)
        return part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _copy(source: BinaryIO, file: BinaryIO) -> None:
    size = 0
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        if size > MAX_BYTES:
            raise ValueError(f"is larger than {MAX_BYTES} bytes")
        file.write(chunk)
