"""The lab's folders: their permissions, the owners of the files in them, and what interrupted exports left."""

import fcntl
import os
import shlex
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from tensor_jupyter.doctor.discovery import Where, is_there
from tensor_jupyter.doctor.finding import Finding, ok, problem, warning
from tensor_jupyter.publishing.staging import YOUNG_SECONDS
from tensor_jupyter.settings import Settings

_SCAN_SECONDS = 0.3  # a data folder may hold millions of files; the first thousands are enough


def check(where: Where, settings: Settings) -> list[Finding]:
    """The problems of each folder, or one finding that there are none; then the unfinished exports."""
    folders = {name: getattr(settings, name) for name in ("models", "logs", "data", "feedback")}
    found = list(dict.fromkeys(finding for folder in folders.values() for finding in _folder(folder, where)))
    if not found:
        made = ", ".join(f"{name} {folder}" for name, folder in folders.items() if is_there(folder))
        found = [ok("folders", f"writable by user {os.getuid()}: {made}" if made else "none is made yet")]
    return [*found, *_staging(settings.models / ".staging", where)]


def _folder(folder: Path, where: Where) -> list[Finding]:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if is_there(path))
    about = there.stat()
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        found = f"{there} cannot be written by user {os.getuid()}; it belongs to {about.st_uid}:{about.st_gid}"
        fix = where.typed(f"chown -R {os.getuid()}:{os.getgid()} {shlex.quote(str(there))}", root=True)
        return [problem("folders", found, "folders that its user may write", fix)]
    # A missing folder is fine: the first command that uses it creates it.
    return [*_mode(folder, about, where), *_inside(folder, about, where)] if there == folder.absolute() else []


def _mode(folder: Path, about: os.stat_result, where: Where) -> list[Finding]:
    word = shlex.quote(str(folder))
    if about.st_mode & stat.S_IWOTH:
        found = f"{folder} can be written by every user of this machine"
        return [warning("folders", found, "its own users only", where.typed(f"chmod o-w {word}"))]
    if about.st_mode & stat.S_IWGRP and not about.st_mode & stat.S_ISGID:
        found = f"{folder} is shared with group {about.st_gid}, but what is made in it is not the group's"
        return [warning("folders", found, "the setgid bit", where.typed(f"chmod g+s {word}"))]
    return []


def _inside(folder: Path, about: os.stat_result, where: Where) -> list[Finding]:
    """Folders of another user that this user (if root: the folder's owner) cannot write to."""
    foreign = [path for path, entry in _below(folder) if _is_locked(path, entry, about)]
    if not foreign:
        return []
    found = f"{len(foreign)} folders in {folder} cannot be written, as {foreign[0]} of user {foreign[0].lstat().st_uid}"
    owner = about if os.getuid() in (0, about.st_uid) else None
    user = f"{owner.st_uid}:{owner.st_gid}" if owner else f"{os.getuid()}:{os.getgid()}"
    fix = where.typed(f"chown -R {user} {shlex.quote(str(folder))}", root=True)
    return [warning("folders", found, "folders of one user or group", fix)]


def _is_locked(path: Path, entry: os.stat_result, about: os.stat_result) -> bool:
    if os.getuid():
        return not os.access(path, os.W_OK | os.X_OK)
    shared = entry.st_gid == about.st_gid and entry.st_mode & stat.S_IWGRP
    return entry.st_uid != about.st_uid and not shared


def _below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The folders below, without following links, until the time is over."""
    end = time.monotonic() + _SCAN_SECONDS
    for root, names, _ in os.walk(folder):
        for path in (Path(root, name) for name in names):
            try:
                entry = path.lstat()
            except OSError:  # gone meanwhile
                continue
            if stat.S_ISDIR(entry.st_mode):
                yield path, entry
        if time.monotonic() > end:
            return


def _staging(root: Path, where: Where) -> list[Finding]:
    """Areas of exporters that no longer run. They take space until the next export sweeps them."""
    try:
        stale = [area for area in sorted(root.iterdir()) if area.is_dir() and _is_stale(area)]
    except OSError:
        return []
    if not stale:
        return []
    found = f"{len(stale)} unfinished: {', '.join(map(str, stale[:3]))}{' ...' if len(stale) > 3 else ''}"
    fix = where.typed(f"rm -r {' '.join(shlex.quote(str(area)) for area in stale)}")
    return [warning("staging", found, "none", fix)]


def _is_stale(area: Path) -> bool:
    """Whether an exporter's area is abandoned: old enough to be locked, but unlocked. Locks end with their process."""
    try:
        if time.time() - area.stat().st_mtime < YOUNG_SECONDS:
            return False
        with (area / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:  # locked, or not readable by this user
        return False
    return True
