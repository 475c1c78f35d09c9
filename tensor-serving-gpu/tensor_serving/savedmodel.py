"""Whether a version folder is a complete SavedModel: checked by names, sizes and message fields, without loading it."""

import errno
import math
import os
import stat
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tensor_serving import bundle, layout, operations, proto_scanner

Fingerprint = tuple[tuple[str, int, int, int], ...]

_CHECKS_PER_POLL = 100  # of versions besides the newest, of all models together
_MAX_FILES = 10_000  # of a version
_STALE = 3.0  # seconds after which a model server that polls every second has certainly applied a changed list


@dataclass
class _ValidationResult:
    """What is known about a version folder as long as its files do not change."""

    fingerprint: Fingerprint
    reason: str
    loads: bool = False  # the model server has it AVAILABLE
    refused: float = -math.inf  # time.monotonic() at which its failed load was first seen
    relisted: float = -math.inf  # time.monotonic() of this result, if an earlier one was refused


class SavedModelValidator:
    """Validates version folders, each again only when its files have changed.

    It checks what can be checked without loading; the model server's result takes precedence (accept, refuse).

    Args:
        allowed: Operations to accept although operations.py refuses them; "*" accepts all.
    """

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self._known: dict[Path, _ValidationResult] = {}
        self._refused_and_gone: dict[Path, _ValidationResult] = {}  # the model server may still report their failure
        self._allowed = allowed
        self.version_folders = layout.VersionFolders()
        self.rotation = Rotation()

    def problem(self, folder: Path) -> str:
        """Return why the version cannot be served, or an empty string when it is sound. Raises nothing."""
        try:
            now = fingerprint(folder)
            if returned := self._refused_and_gone.pop(folder, None):
                self._known.setdefault(folder, returned)
            known = self._known.get(folder)
            # The server retries a refused version only after it has applied a list without it.
            if known and time.monotonic() < known.refused + _STALE:
                return known.reason
            if not known or known.fingerprint != now:
                again = time.monotonic() if known and known.refused > -math.inf else -math.inf
                known = self._known[folder] = _ValidationResult(now, _validate(folder, self._allowed), relisted=again)
            return known.reason
        except OSError as error:
            reason = f"{error.filename or folder} cannot be read: {error.strerror}"
        except Exception as error:  # noqa: BLE001 - a broken version must not keep the others from being served
            reason = f"it cannot be checked: {type(error).__name__}: {error}"
        self._known.setdefault(folder, _ValidationResult((), reason))  # an earlier result stays valid
        return reason

    def last_problem(self, folder: Path) -> str | None:
        """Return what `problem` returned last, without reading the files; None if it has not been called."""
        known = self._known.get(folder)
        return known.reason if known else None

    def mark_loaded(self, folder: Path) -> None:
        """Record that the model server has loaded the version."""
        if folder in self._known:
            self._known[folder].loads = True

    def mark_failed(self, folder: Path, reason: str) -> None:
        """Hold the version back, because the model server could not load it, until its files change.

        Ignored shortly after a refused version is listed again: the server may still report the old failure.
        """
        known = self._known.get(folder)
        if known and not known.reason and time.monotonic() >= known.relisted + _STALE:
            # On one line, without the graph nodes that TensorFlow appends, and with paths below the version folder.
            text = " ".join(reason.replace(f"{folder}/", "").partition("[[")[0].split())
            known.reason, known.loads, known.refused = f"does not load: {text}", False, time.monotonic()

    def loads(self, folder: Path) -> bool:
        """Return whether the model server has loaded the version as it is now."""
        return folder in self._known and self._known[folder].loads

    def forget(self, gone: set[Path]) -> None:
        """Drop the results of folders that no longer exist, or are to be validated anew."""
        for folder in gone & self._known.keys():
            dropped = self._known.pop(folder)
            if dropped.refused > -math.inf and not folder.exists():
                self._refused_and_gone[folder] = dropped

    def known(self) -> set[Path]:
        """Return the folders validated so far."""
        return set(self._known)


class Rotation:
    """Which of many versions a poll checks: all if there are few, else a part of them, so that each has its turn."""

    def __init__(self) -> None:
        self._turn, self._parts, self._position = 0, 1, 0

    def next(self, total: int) -> "Rotation":
        """Advance to the next poll, of this many versions in total."""
        self._turn, self._parts, self._position = self._turn + 1, -(-total // _CHECKS_PER_POLL) or 1, 0
        return self

    def includes_next(self) -> bool:
        """Return whether it is the turn of the next version of this poll; the order is the same in each poll."""
        self._position += 1
        return self._position % self._parts == self._turn % self._parts


def fingerprint(folder: Path) -> Fingerprint:
    """Return a value that changes with a version's files: names, sizes, inodes and times (ns). Raises OSError."""
    found = []
    for place in (folder, *(folder / name for name in ("variables", "assets", "assets.extra"))):
        if place.is_dir():
            with os.scandir(place) as entries:
                for entry in entries:
                    found_at = entry.stat()
                    found.append((entry.path, found_at.st_size, found_at.st_ino, found_at.st_mtime_ns))
                    if len(found) > _MAX_FILES:
                        raise OSError(errno.EMFILE, f"it holds more than {_MAX_FILES} files", str(folder))
    return tuple(sorted(found))


def _validate(folder: Path, allowed: Collection[str]) -> str:
    for place in (folder, *(folder / name for name in ("variables", "assets", "assets.extra"))):
        # Opening a FIFO would block this process or the model server for ever.
        for entry in sorted(place.iterdir()) if place.is_dir() else ():
            mode = entry.stat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                return f"{entry.relative_to(folder)} is not a regular file"
    outline = _Outline()
    graph = folder / "saved_model.pb"
    if (folder / "saved_model.cpb").exists():
        return "saved_model.cpb, a graph in several parts, cannot be checked; save it as saved_model.pb"
    if graph.is_file():
        try:
            with proto_scanner.open_regular(graph) as file:
                outline = _outline(file, check_operations="*" not in allowed)
        except proto_scanner.TornError as error:
            return f"saved_model.pb is incomplete: {error}"
        missing = [name for name in outline.assets if not (folder / "assets" / name).is_file()]
        if missing:
            return f"assets/{missing[0]} is missing"
    else:
        text = folder / "saved_model.pbtxt"
        if not text.is_file():
            return "saved_model.pb is missing"
        if not text.stat().st_size:
            return "saved_model.pbtxt is empty"
        if "*" not in allowed:
            return f"the operations of a saved_model.pbtxt cannot be checked; {operations.VARIABLE}='*' serves it"
    return _validate_variables(folder / "variables", outline.restores) or _validate_operations(outline.refused, allowed)


def _validate_operations(refused: set[str], allowed: Collection[str]) -> str:
    if not (names := sorted(refused.difference(allowed))):
        return ""
    return (
        f"serving it runs {', '.join(names)}: a model may not read or write files, call Python or open connections; "
        f"{operations.VARIABLE}='{' '.join(names)}' allows it"
    )


def _validate_variables(variables: Path, restores: bool) -> str:
    if not variables.is_dir():
        return "variables/ is missing, though saved_model.pb restores variables from it" if restores else ""
    index = variables / "variables.index"
    if not index.is_file():
        # An exporter leaves an empty folder behind when a model has no variables.
        return "variables/variables.index is missing" if restores or any(variables.iterdir()) else ""
    try:
        count, sizes = bundle.shards(index)
    except proto_scanner.TornError as error:
        return f"variables/variables.index is incomplete: {error}"
    present = len(list(variables.iterdir()))
    if count > present:
        return f"variables/variables.index names {count} data files, more than the {present} files in variables/"
    for shard in range(count):
        name = f"variables.data-{shard:05d}-of-{count:05d}"
        if not (variables / name).is_file():
            return f"variables/{name} is missing"
        found, least = (variables / name).stat().st_size, sizes.get(shard, 0)
        if found < least:
            return f"variables/{name} is incomplete: {found} bytes, its index declares {least}"
    return ""


@dataclass
class _Outline:
    """What a SavedModel's serving graphs have: restored variables or not, asset files, refused operations."""

    restores: bool = False
    assets: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


def _outline(file: BinaryIO, check_operations: bool) -> _Outline:
    """Return one outline of all graphs tagged 'serve': which of them is served depends on the server's tags.

    Field numbers from tensorflow/core/protobuf/{saved_model,meta_graph,saver}.proto. Raises proto_scanner.TornError.
    """
    walk = proto_scanner.Walk(file)
    if not walk.whole.end:
        raise proto_scanner.TornError("it is empty")
    outline, found, serving = _Outline(), list[str](), False
    for graph in walk.inside(walk.whole, 2):
        tags = _texts(walk, graph, 1, 4)
        if "serve" in tags:
            serving = True
            outline.assets += _texts(walk, graph, 6, 2)
            for collection in walk.inside(graph, 4):
                if walk.strings(collection, 1) == [b"saved_model_assets"]:  # where TensorFlow 1 puts them
                    outline.assets += _texts(walk, collection, 2, 5, 1, 2, 2)
            outline.restores |= any(walk.strings(graph, 3, 3))
            if check_operations:
                outline.refused |= operations.refused(walk, graph)
        found += tags
    if not serving:
        raise proto_scanner.TornError(f"no graph in it is tagged 'serve' (found: {', '.join(found[:9]) or 'none'})")
    return outline


def _texts(walk: proto_scanner.Walk, message: proto_scanner.Field, *path: int) -> list[str]:
    return [text.decode(errors="replace") for text in walk.strings(message, *path)]
