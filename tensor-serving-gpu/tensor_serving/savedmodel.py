"""Is a version folder a whole SavedModel? Judged from names, sizes and the messages' outlines, without loading it."""

import os
from pathlib import Path
from typing import BinaryIO

from tensor_serving import bundle, wire

Fingerprint = tuple[tuple[str, int, int, int], ...]


class Inspector:
    """Judges version folders, each again only when its files have changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Fingerprint, str]] = {}

    def problem(self, folder: Path) -> str:
        """Return why the version cannot be served, or an empty string when it is sound."""
        try:
            now = fingerprint(folder)
            known = self._known.get(folder)
            if not known or known[0] != now:
                known = self._known[folder] = (now, _judge(folder))
            return known[1]
        except OSError as error:  # not remembered: the next look may succeed
            return f"{error.filename or folder} cannot be read: {error.strerror}"

    def forget(self, gone: set[Path]) -> None:
        """Drop what is remembered of folders that are no longer there."""
        for folder in gone & self._known.keys():
            del self._known[folder]

    def known(self) -> set[Path]:
        """Return the folders judged so far."""
        return set(self._known)


def fingerprint(folder: Path) -> Fingerprint:
    """Return what changes when a version's own or its variables' files do: names, sizes, inodes and times (ns)."""
    found = []
    for place in (folder, folder / "variables"):
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
