"""Folders and files in the models volume that were meant as models, but are not found: why, and the mending command."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tensor_jupyter.context import NAME

_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
_KERAS = (".keras", ".h5", ".hdf5")


@dataclass(frozen=True)
class NearModel:
    """path: in the models volume; fix: a command to type, "" if there is none."""

    path: str
    reason: str
    fix: str


def near_models(models: Path) -> list[NearModel]:
    """Everything in the volume that is nearly a model, in order of its path; nothing is opened."""
    try:
        entries = sorted(path for path in models.iterdir() if not path.name.startswith("."))
        return [found for path in entries for found in _looked_at(path, models)]
    except OSError:
        return []


def _looked_at(path: Path, models: Path) -> list[NearModel]:
    if path.suffix.lower() in _KERAS and path.is_file():
        return [NearModel(path.name, "a Keras file is imported, not copied", f"bin/lab import {_word(path)}")]
    if not path.is_dir():
        return []
    if not NAME.fullmatch(path.name):
        return _wrong_name(path, models)
    if _is_graph(path):
        return [_without_version(path)]
    inside = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    return [found for each in inside for found in _wrong_version(each)]


def _wrong_name(path: Path, models: Path) -> list[NearModel]:
    if not _is_graph(path) and not any(_is_graph(each) for each in path.iterdir() if each.is_dir()):
        return []
    name = re.sub(r"[^a-z0-9._-]+", "-", path.name.lower()).strip("-._")[:63]
    wanted = "a model's name has lower-case letters, digits, '.', '_' and '-' only"
    free = bool(name) and not (models / name).exists()
    return [NearModel(path.name, wanted, f"mv {_word(path)} {_word(models / name)}" if free else "")]


def _without_version(path: Path) -> NearModel:
    """As TensorFlow Serving's own hint: Did you forget to name your leaf directory as a number (eg. '/1/')?"""
    aside = path.with_name(f".{path.name}")
    fix = f"mv {_word(path)} {_word(aside)} && mkdir {_word(path)} && mv {_word(aside)} {_word(path / '1')}"
    return NearModel(path.name, "the SavedModel lies in the model's folder, without a version folder such as 1", fix)


def _wrong_version(path: Path) -> list[NearModel]:
    if (path.name.isascii() and path.name.isdigit()) or not _is_graph(path):
        return []
    number = (re.findall(r"[1-9]\d{0,17}", path.name) or ["1"])[-1]
    free = not (path.parent / number).exists()
    fix = f"mv {_word(path)} {_word(path.parent / number)}" if free else ""
    return [NearModel(f"{path.parent.name}/{path.name}", "a version's folder is a positive whole number, as 1", fix)]


def _is_graph(path: Path) -> bool:
    return any((path / name).is_file() for name in _GRAPHS)


def _word(path: Path) -> str:
    return shlex.quote(str(path))
