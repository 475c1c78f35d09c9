"""A step's stamp: the SHA-256 of what it read and wrote, with its parameters, its command and the release.

<pipeline folder>/<step>/stamp.json     written last; a step without one did not finish

A step whose stamp still matches the disk need not run. Stamps are the lineage: an output's hash appears as an input's
hash in the stamps of the steps that read it.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tensor_jupyter import __version__
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.pipeline.steps import Step

FILE = "stamp.json"

_FOLDERS = ("mnist_data_dir", "notmnist_data_dir")
"""Parameters whose value is a folder: its content counts as an input."""


@dataclass(frozen=True)
class Stamp:
    """What one run of a step read, wrote and depended on.

    inputs and outputs: SHA-256 by path, of a folder over its files; "" for a path that does not exist.
    """

    step: str
    command: list[str]
    release: str
    parameters: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, str]

    @property
    def key(self) -> str:
        """The name of the step's run: SHA-256 of everything but the outputs."""
        given = {name: value for name, value in asdict(self).items() if name != "outputs"}
        return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps({"schema": 1, **asdict(self), "key": self.key}, indent=2) + "\n")


def expected(step: Step, parameters: Parameters, root: Path) -> Stamp:
    """Return the stamp that the step would get now, without outputs."""
    values = parameters.model_dump(mode="json")
    inputs = {path: digest(root / path) for path in step.inputs}
    inputs |= {name: digest(Path(values[name])) for name in _FOLDERS if name in step.params and values[name]}
    return Stamp(
        step.name, list(step.command), __version__, {name: values[name] for name in step.params}, inputs, outputs={}
    )


def read(folder: Path) -> Stamp | None:
    """Return the stamp in a step's folder, None if there is none that can be read."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Stamp(**{name: found[name] for name in Stamp.__dataclass_fields__})
    except (OSError, ValueError, LookupError, TypeError):
        return None


def why_stale(step: Step, parameters: Parameters, root: Path) -> str:
    """Return why the step has to run, "" if its stamp is valid."""
    found = read(root / step.name)
    if found is None:
        return "it was interrupted" if (root / step.name).is_dir() else "it has not run yet"
    wanted = expected(step, parameters, root)
    changed = [
        *_changed(found.parameters, wanted.parameters),
        *_differing(found.inputs, wanted.inputs, "changed"),
        *_differing(
            found.outputs, {name: digest(root / step.name / name) for name in step.outputs}, "was tampered with"
        ),
    ]
    if found.command != wanted.command:
        changed.append("its command changed")
    if found.release != wanted.release:
        changed.append(f"the release changed {found.release} -> {wanted.release}")
    return ", ".join(changed)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files; "" if it is not there."""
    if path.is_file():
        with path.open("rb") as file:
            found = hashlib.sha256()
            while chunk := file.read(1 << 20):
                found.update(chunk)
        return found.hexdigest()
    if not path.is_dir():
        return ""
    files = sorted(each for each in path.rglob("*") if each.is_file())
    lines = (f"{digest(each)}  {each.relative_to(path).as_posix()}\n" for each in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _changed(old: dict[str, Any], new: dict[str, Any]) -> Iterable[str]:
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            yield f"{name} changed {_shown(old.get(name))} -> {_shown(new.get(name))}"


def _differing(old: dict[str, str], new: dict[str, str], word: str) -> Iterable[str]:
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            yield f"{name} {word if new.get(name) else 'is missing'}"


def _shown(value: object) -> str:
    return "default" if value in (None, "") else str(value)
