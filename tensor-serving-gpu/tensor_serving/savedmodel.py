"""Is a version folder a whole SavedModel? Judged from names, sizes and the messages' outlines, without loading it."""

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tensor_serving import bundle, wire

Fingerprint = tuple[tuple[str, int, int, int], ...]

_STALE = 3.0  # seconds after which a model server that looks every second has surely followed a changed list


@dataclass
class _Verdict:
    """What is known of a version folder as long as its files stay as they are."""

    fingerprint: Fingerprint
    reason: str
    loads: bool = False  # the model server has it AVAILABLE
    refused: float = -math.inf  # time.monotonic() at which the model server was first seen to have failed with it
    relisted: float = -math.inf  # time.monotonic() of the verdict, where an earlier one was refused


class Inspector:
    """Judges version folders, each again only when its files have changed.

    What can be told without loading a version it tells itself; the model server has the last word (accept, refuse).
    """

    def __init__(self) -> None:
        self._known: dict[Path, _Verdict] = {}

    def problem(self, folder: Path) -> str:
        """Return why the version cannot be served, or an empty string when it is sound."""
        try:
            now = fingerprint(folder)
            known = self._known.get(folder)
            # The list without a refused version has to reach the server, or the server will not try it again.
            if known and time.monotonic() < known.refused + _STALE:
                return known.reason
            if not known or known.fingerprint != now:
                again = time.monotonic() if known and known.refused > -math.inf else -math.inf
                known = self._known[folder] = _Verdict(now, _judge(folder), relisted=again)
            return known.reason
        except OSError as error:  # not remembered: the next look may succeed
            return f"{error.filename or folder} cannot be read: {error.strerror}"

    def accept(self, folder: Path) -> None:
        """Take note that the model server has loaded the version."""
        if folder in self._known:
            self._known[folder].loads = True

    def refuse(self, folder: Path, reason: str) -> None:
        """Hold the version back, as the model server could not load it, until its files change.

        What the server says of a version that was refused before, and is listed again, may still be the old failure.
        """
        known = self._known.get(folder)
        if known and not known.reason and time.monotonic() >= known.relisted + _STALE:
            # Without the trace of graph nodes that TensorFlow appends, in one line, and with paths as seen from here.
            text = " ".join(reason.replace(f"{folder}/", "").partition("[[")[0].split())
            known.reason, known.loads, known.refused = f"does not load: {text}", False, time.monotonic()

    def loads(self, folder: Path) -> bool:
        """Tell whether the model server has loaded the version as it is now."""
        return folder in self._known and self._known[folder].loads

    def forget(self, gone: set[Path]) -> None:
        """Drop what is remembered of folders that are no longer there."""
        for folder in gone & self._known.keys():
            del self._known[folder]

    def known(self) -> set[Path]:
        """Return the folders judged so far."""
        return set(self._known)


def fingerprint(folder: Path) -> Fingerprint:
    """Return what changes when a version's files do: names, sizes, inodes and times (ns)."""
    found = []
    for place in (folder, *(folder / name for name in ("variables", "assets", "assets.extra"))):
        if place.is_dir():
            with os.scandir(place) as entries:
                for entry in entries:
                    stat = entry.stat()
                    found.append((entry.path, stat.st_size, stat.st_ino, stat.st_mtime_ns))
    return tuple(sorted(found))


def _judge(folder: Path) -> str:
    graph = folder / "saved_model.pb"
    restores = False
    if graph.is_file():
        try:
            with graph.open("rb") as file:
                restores, assets = _outline(file)
        except wire.TornError as error:
            return f"saved_model.pb is incomplete: {error}"
        missing = [name for name in assets if not (folder / "assets" / name).is_file()]
        if missing:
            return f"assets/{missing[0]} is missing"
    else:
        text = folder / "saved_model.pbtxt"
        if not text.is_file():
            return "saved_model.pb is missing"
        if not text.stat().st_size:
            return "saved_model.pbtxt is empty"
    return _judge_variables(folder / "variables", restores)


def _judge_variables(variables: Path, restores: bool) -> str:
    if not variables.is_dir():
        return "variables/ is missing, though saved_model.pb restores variables from it" if restores else ""
    index = variables / "variables.index"
    if not index.is_file():
        # An exporter leaves an empty folder behind when a model has no variables.
        return "variables/variables.index is missing" if restores or any(variables.iterdir()) else ""
    try:
        sizes = bundle.shard_sizes(index)
    except wire.TornError as error:
        return f"variables/variables.index is incomplete: {error}"
    for shard, least in enumerate(sizes):
        name = f"variables.data-{shard:05d}-of-{len(sizes):05d}"
        if not (variables / name).is_file():
            return f"variables/{name} is missing"
        found = (variables / name).stat().st_size
        if found < least:
            return f"variables/{name} is incomplete: {found} bytes, its index speaks of {least}"
    return ""


def _outline(file: BinaryIO) -> tuple[bool, list[str]]:
    """Return whether a SavedModel's serving graph restores variables, and the names of its asset files.

    Field numbers from tensorflow/core/protobuf/{saved_model,meta_graph,saver}.proto.
    """
    length = wire.size(file)
    if not length:
        raise wire.TornError("it is empty")
    found: list[str] = []
    for graph in [field for field in wire.fields(file, 0, length) if field.number == 2]:
        tags = _strings(file, graph, 1, 4)
        if "serve" in tags:
            assets = _strings(file, graph, 6, 2)
            for collection in [field for field in wire.fields(file, graph.start, graph.end) if field.number == 4]:
                if _strings(file, collection, 1) == ["saved_model_assets"]:  # where TensorFlow 1 puts them
                    assets += _strings(file, collection, 2, 5, 1, 2, 2)
            return any(_strings(file, graph, 3, 3)), assets
        found += tags
    raise wire.TornError(f"no graph in it is tagged 'serve' (found: {', '.join(found) or 'none'})")


def _strings(file: BinaryIO, message: wire.Field, *path: int) -> list[str]:
    """Return every string at the end of this path of field numbers inside a message."""
    if not path:
        return [wire.read(file, message).decode(errors="replace")]
    inside = [field for field in wire.fields(file, message.start, message.end) if field.number == path[0]]
    return [text for field in inside for text in _strings(file, field, *path[1:])]
