"""What an image is built from: a hash of everything that goes into it, and the commit, kept as labels of the image.

`up` compares the hash with this clone's; bin/push-docker.sh calls this module for the labels of a build:

    python -m lab_engine.docker.source FOLDER
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from ..settings import read_env_file

HASH = "tensor-lab.source-hash"
REVISION = "org.opencontainers.image.revision"
CREATED = "org.opencontainers.image.created"

_VERSIONS = ("LAB_VERSION", "PYTHON_IMAGE", "TF_SERVING_IMAGE")


def source_hash(folder: Path) -> str:
    """SHA-256 of the folder's files that go into an image, its Dockerfiles, and the versions."""
    found = hashlib.sha256()
    for name, value in read_env_file(folder.parent / "versions.env").items():
        if name in _VERSIONS:
            found.update(f"{name}={value}\n".encode())
    for path in [*sorted(folder.glob("Dockerfile*")), *_context(folder)]:
        content = path.read_bytes()
        found.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def labels(folder: Path) -> dict[str, str]:
    """The labels for an image built from this folder. Without git, commit and time are left out."""
    known = {HASH: source_hash(folder)}
    revision, created = commit(folder), _git(folder, "log", "-1", "--format=%cI")
    if revision and created:
        known |= {REVISION: revision, CREATED: created}
    return known


def commit(folder: Path) -> str:
    """The folder's commit, with -dirty if its files differ from it; empty without git."""
    head = _git(folder, "rev-parse", "HEAD")
    dirty = head and _git(folder, "status", "--porcelain", "--", ".")
    return f"{head}-dirty" if dirty else head


def _context(folder: Path) -> list[Path]:
    """Return the files that a build receives: those that .dockerignore admits; without one, all files."""
    path = folder / ".dockerignore"
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else ["!."]
    wanted = [folder / line[1:] for line in lines if line.startswith("!")]
    left_out = {line.removeprefix("**/") for line in lines if line.startswith("**/")}
    found = {file for each in wanted for file in (each.rglob("*") if each.is_dir() else [each]) if file.is_file()}
    return sorted(file for file in found if not left_out & {*file.relative_to(folder).parts})


def _git(folder: Path, *arguments: str) -> str:
    """What git prints; empty where it is not installed or the folder is in no clone."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    for label, text in labels(Path(sys.argv[1])).items():
        sys.stdout.write(f"--label={label}={text}\n")
