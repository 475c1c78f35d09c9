"""API keys, where a file of them is set. Only hashes are stored; the file is read again when it changes.

A key is 256 random bits and cannot be guessed, so a plain SHA-256 is enough; passwords would need a slow hash.
"""

import hashlib
import hmac
import logging
import math
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from tensor_rest.errors import UnauthorizedError
from tensor_rest.observability import metrics

log = logging.getLogger(__name__)

_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62}):([0-9a-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LOOK_EVERY = 1.0  # seconds between looks at the file
_MAX_BYTES = 1 << 20  # of the file

_OPEN = frozenset({"/", "/tf", "/tf/", "/healthz", "/readyz", "/favicon.ico"})
_OPEN_FOLDERS = ("/static/", "/swaggerui/", "/samples/")


def create(name: str) -> tuple[str, str]:
    """Return a new key, and the line for the file that accepts it as `name`. Raises ValueError for an invalid name."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a key (expected 1 to 63 letters, digits, '.', '_' or '-', a letter or digit first)"
        )
    key = f"lab_{secrets.token_urlsafe(32)}"
    return key, f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


class Keys:
    """The keys of a file. An unreadable file raises ValueError at the start; later, the previous keys stay valid."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp: tuple[int, ...] = ()
        self._looked = -math.inf
        self._broken = False  # since the last look, and logged
        self._names = _read(file)

    def check(self, environ: Mapping[str, str]) -> str:
        """Return the name of the caller's key. Raises UnauthorizedError for a missing or wrong key."""
        self._follow()
        given = environ.get("HTTP_X_API_KEY") or _bearer(environ.get("HTTP_AUTHORIZATION", ""))
        if not given:
            metrics.refused("key")
            raise UnauthorizedError(
                "This gateway requires an API key: send the header Authorization: Bearer KEY, or X-API-Key: KEY."
            )
        digest, found = hashlib.sha256(given.encode()).hexdigest(), ""
        for known, name in self._names.items():  # always all of them: in constant time
            if hmac.compare_digest(known, digest):
                found = name
        if not found:
            metrics.refused("key")
            raise UnauthorizedError("This API key is not known here.")
        return found

    def _follow(self) -> None:
        """Read the file again if it has changed since the last look."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        try:
            status = self._file.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._names, self._stamp = _read(self._file), stamp
            self._broken = False
        except (OSError, ValueError) as error:
            if not self._broken:
                log.error("API keys stay as they were: %s", error)
            self._broken, self._stamp = True, ()


def is_open(path: str) -> bool:
    """Whether a path needs no key: probes, and pages without data of the lab."""
    return path in _OPEN or path.startswith(_OPEN_FOLDERS)


def _bearer(header: str) -> str:
    scheme, _, key = header.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _read(file: Path) -> dict[str, str]:
    """Return the names of the keys by hash. Raises ValueError if the file is invalid or cannot be read."""
    try:
        with file.open("rb") as opened:
            text = opened.read(_MAX_BYTES).decode("ascii")
    except OSError as error:
        raise ValueError(f"the file of API keys {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"the file of API keys {file} is not text") from error
    names: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        if not (match := _LINE.fullmatch(line)):
            # The line is not shown: it may hold the key itself.
            raise ValueError(f"line {number} of {file} is not name:sha256; `python -m tensor_rest key NAME` makes one")
        names[match[2]] = match[1]
    return names
