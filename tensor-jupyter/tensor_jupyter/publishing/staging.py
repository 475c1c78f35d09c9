"""Publish a finished version atomically, and never in place of another.

A version is written to `<models>/.staging/<id>/`, which servers ignore, and moved to `<models>/<name>/<n>/` by one
rename. The rename also reserves the number: it can replace only an empty folder, so of two exporters that want the
same number one gets it and the other takes the next. An empty version is never visible.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tensor_jupyter.context import checked_name, greatest_version, make_shared, share
from tensor_jupyter.errors import LabError

PULLED = ".pulled"
"""In a model's folder: the manifests of the versions pulled from an object store, `<number>.json`."""

YOUNG_SECONDS = 60
"""An area younger than this is not swept: its exporter may not have locked it yet."""

_PREFIX = "export-"  # only areas with this prefix are swept
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOCK = "lock"


@contextlib.contextmanager
def staging(models: Path) -> Iterator[Path]:
    """Create an area to write a version to, and remove it at the end; areas of dead exporters are swept first.

    Yields the folder to write to, which does not exist yet. It belongs to this process while the process holds the
    lock beside it; the kernel releases the lock when the process ends, for whatever reason. Raises LabError when the
    disk is full.
    """
    root = models / ".staging"
    with _full_disk_reported(models):
        make_shared(root)
        sweep(root)
        area = Path(tempfile.mkdtemp(dir=root, prefix=_PREFIX))
    try:
        with _full_disk_reported(models), (area / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield area / "version"
    finally:
        shutil.rmtree(area, ignore_errors=True)


def sweep(root: Path) -> None:
    """Remove the areas in `root` that were left by exporters no longer running."""
    for area in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or swept by another exporter at this moment
            if time.time() - area.stat().st_mtime > YOUNG_SECONDS and _abandoned(area):
                shutil.rmtree(area)


def publish(staged: Path, models: Path, name: str, version: int | None = None, exact: bool = False) -> Path:
    """Move the finished folder `staged` to `models/<name>/<n>` and return that path.

    n is `version` or else the next free number; if another exporter took it, the next free one after it, but with
    `exact` LabError is raised instead. `staged` must lie on the same volume, with everything in it. The mark of a
    pulled version that had this number before is removed.
    """
    family = models / checked_name(name)
    make_shared(family)
    _make_readable(staged, models)
    _sync(staged)
    number = version or greatest_version(family) + 1
    while not _renamed(staged, family / str(number)):
        if exact:
            raise LabError(f"Version {number} of {name} is published, and a published version is never changed.")
        number = max(number, greatest_version(family)) + 1
    (family / PULLED / f"{number}.json").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the version is published and complete; an error here does not change that
        _sync_folder(family)
    return family / str(number)


@contextlib.contextmanager
def _full_disk_reported(models: Path) -> Iterator[None]:
    """Turn the errors of a full disk, and those of a copy, into a LabError of one sentence."""
    try:
        yield
    except shutil.Error as error:  # copytree collects the errors of all files
        raise LabError(f"Nothing was published: {error.args[0][0][2]}") from error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise LabError(f"The disk of {models} is full, so nothing was published: free space there.") from error


def _renamed(source: Path, target: Path) -> bool:
    """Whether the folder was moved; False if the target holds something already."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True


def _abandoned(area: Path) -> bool:
    lock = area / _LOCK
    if not lock.exists():
        return True
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _make_readable(folder: Path, models: Path) -> None:
    """The server may run as another user than the notebook; the group of the models folder may delete the version."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
        share(path, like=models)


def _sync(folder: Path) -> None:
    """Flush every file and folder to the disk before the rename."""
    for path in (*folder.rglob("*"), folder):
        if path.is_dir():
            _sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
