"""A backup of a lab: one .tar.gz with models, logs, data, feedback, config and notebooks, alike on both engines.

Its first member is lab-backup.json. GNU tar reads and writes the folders, because Python's tarfile fails on files that
grow meanwhile; this module checks an archive's content before anything is replaced.
"""

import contextlib
import datetime
import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from .errors import EngineError
from .settings import Settings

VOLUMES = ("models", "logs", "data", "feedback")
HOST_FOLDERS = ("config", "workspace")  # on the host, with either engine
FOLDERS = (*VOLUMES, *HOST_FOLDERS)
_ABOUT = "lab-backup.json"
_FORMAT = 1
_BLOCK = 1 << 20
_CHANGED = 1  # GNU tar's exit code when a file changed while it was read
DAMAGED = (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, KeyError, ValueError)


def about(settings: Settings, engine: str) -> dict[str, Any]:
    """Return the description that an archive begins with."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return {"release": settings.version, "engine": engine, "created": now}


def write(path: Path, described: dict[str, Any], sources: Sequence[Sequence[str]]) -> int:
    """Write an archive of the files that the tar commands in `sources` output, and return its size in bytes.

    Only the archive's owner can read it, because it contains models and keys. It is renamed to `path` when it is
    complete. Raises EngineError.
    """
    if path.exists():
        raise EngineError(f"{path} exists: name a new file")
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
                _add_about(archive, described)
                for command in sources:
                    _copy(command, archive)
            os.fsync(file.fileno())
        unfinished.replace(path)
    except FileExistsError:
        raise EngineError(
            f"{unfinished} exists: another backup is being written, or one was interrupted: then remove the file"
        ) from None
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return path.stat().st_size


def check(path: Path) -> dict[str, Any]:
    """Read a whole archive and return its description; raises EngineError unless it is complete and safe to unpack."""
    try:
        with gzip.open(path) as file, tarfile.open(fileobj=file, mode="r|") as archive:
            members = iter(archive)
            described = _read_about(archive, next(members, None))
            for member in members:
                _check(member)
            while file.read(_BLOCK):  # up to gzip's checksum
                pass
    except FileNotFoundError:
        raise EngineError(f"{path} is not there") from None
    except DAMAGED as error:
        raise EngineError(f"{path} is not a whole backup of a lab: {error}") from None
    return described


def restored(described: dict[str, Any]) -> str:
    """Return the message after a restore."""
    made = f"of release {described.get('release')}, made {described.get('created')}"
    return f"restored the backup {made}; start the lab with: bin/compose.sh up"


def replace(path: Path, home: Path, folders: Sequence[str]) -> None:
    """Replace the folders in `home` by those of a checked archive, once all of these are unpacked. Raises EngineError.

    A folder that the archive does not contain stays as it is.
    """
    fresh, old = home / ".restoring", home / ".replaced"
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
        left.mkdir(mode=0o700)
    try:
        unpack(path, folders, ["tar", "-C", str(fresh), "-xpf", "-", "--no-same-owner"])
        for folder in (name for name in folders if (fresh / name).is_dir()):
            if (home / folder).exists():
                (home / folder).replace(old / folder)
            (fresh / folder).replace(home / folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def folders_command(home: Path, folders: Sequence[str] = FOLDERS) -> list[str]:
    """Return the tar command that prints those folders of `home` that exist."""
    there = [name for name in folders if (home / name).is_dir()]
    return ["tar", "-C", str(home), "-cf", "-", "--exclude=models/.staging", *there]


def unpack(path: Path, folders: Sequence[str], command: Sequence[str]) -> None:
    """Pass the members below `folders` of a checked archive to GNU tar, which never writes through a link in it."""
    with gzip.open(path) as file, subprocess.Popen(command, stdin=subprocess.PIPE) as tar:
        assert tar.stdin is not None
        with (
            contextlib.suppress(BrokenPipeError),
            tarfile.open(fileobj=file, mode="r|") as archive,
            tarfile.open(fileobj=tar.stdin, mode="w|") as plain,
        ):
            for member in archive:
                if PurePosixPath(member.name).parts[0] in folders:
                    _add(plain, member, archive)
        with contextlib.suppress(BrokenPipeError):
            tar.stdin.close()
    if tar.returncode:
        raise EngineError(f"{path} could not be unpacked; tar's reason is above. The lab is as it was")


def _copy(command: Sequence[str], archive: tarfile.TarFile) -> None:
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None
        try:
            with tarfile.open(fileobj=tar.stdout, mode="r|") as plain:
                for member in plain:
                    _add(archive, member, plain)
            _drain(tar.stdout)
        except tarfile.ReadError as error:
            raise EngineError(f"the lab's files could not be read ({error}); tar's reason is above") from None
        finally:
            tar.stdout.close()
    if tar.returncode not in (0, _CHANGED):
        raise EngineError("the lab's files could not be read; tar's reason is above")


def _add(target: tarfile.TarFile, member: tarfile.TarInfo, source: tarfile.TarFile) -> None:
    target.addfile(member, source.extractfile(member) if member.isreg() else None)


def _drain(stream: IO[bytes]) -> None:
    while stream.read(_BLOCK):
        pass


def _add_about(archive: tarfile.TarFile, described: dict[str, Any]) -> None:
    content = json.dumps({"format": _FORMAT, **described}, indent=1).encode()
    member = tarfile.TarInfo(_ABOUT)
    member.size, member.mode = len(content), 0o600
    archive.addfile(member, io.BytesIO(content))


def _read_about(archive: tarfile.TarFile, member: tarfile.TarInfo | None) -> dict[str, Any]:
    file = archive.extractfile(member) if member and member.name == _ABOUT and member.size <= _BLOCK else None
    about: Any = json.load(file) if file else None
    if not isinstance(about, dict):
        raise ValueError(f"{_ABOUT} is not its first member")
    if about.get("format") != _FORMAT:
        raise ValueError(f"its format is {about.get('format')!r}, and this release reads {_FORMAT}")
    return about


def _check(member: tarfile.TarInfo) -> None:
    """Raise ValueError unless the member is in one of the lab's folders."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not name.parts or name.parts[0] not in FOLDERS:
        raise ValueError(f"{member.name!r} is not in one of {', '.join(FOLDERS)}")
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        raise ValueError(f"{member.name!r} is neither file, folder nor link")
