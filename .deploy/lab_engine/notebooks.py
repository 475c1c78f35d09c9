"""The notebooks that people run: copies in the state folder, so that the clone stays as it was checked out.

    <home>/workspace/notebook/MNIST/MnistNet.ipynb          a copy, used by JupyterLab from the first `up` on
    <home>/workspace/notebook/MNIST/MnistNet-0.2.0.ipynb    a later release's, next to a copy that was edited
    <home>/workspace/shipped.json                           SHA-256 of what was copied last, by path

An unedited copy is replaced by that of a later release; a deleted copy is restored.
"""

import hashlib
from pathlib import Path

from . import state
from .settings import ROOT, Settings

SHIPPED = ROOT / "tensor-jupyter" / "notebook"


def prepare(settings: Settings, shipped: Path = SHIPPED) -> list[str]:
    """Copy the notebooks that are missing or changed; return a message for each that was put next to an edited copy."""
    settings.notebooks.mkdir(parents=True, exist_ok=True)
    record = settings.workspace / "shipped.json"
    before: dict[str, str] = state.read(record)
    said, now = [], {}
    for source in sorted(shipped.rglob("*")):
        name = source.relative_to(shipped)
        if not source.is_file() or any(part.startswith(".") for part in name.parts):
            continue
        content = source.read_bytes()
        now[str(name)] = _digest(content)
        copy = settings.notebooks / name
        if not copy.exists() or _digest(copy.read_bytes()) == before.get(str(name)):
            _write(copy, content)
        elif now[str(name)] not in (before.get(str(name)), _digest(copy.read_bytes())):
            beside = copy.with_stem(f"{copy.stem}-{settings.version}")
            if beside.exists():  # from another commit of this release, and perhaps edited
                beside = copy.with_stem(f"{beside.stem}-{now[str(name)][:8]}")
            _write(beside, content)
            said.append(f"{copy} was edited: this release's is beside it, as {beside.name}")
    state.write(record, now)
    return said


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Write the file atomically, unless it has this content."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)
