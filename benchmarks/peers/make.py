"""Make an environment for each peer, with the latest releases from PyPI and the repository's TensorFlow.

The environments are under .lab/bench, outside git. Packages are installed by uv, which links equal files instead of
copying them: TensorFlow takes disk space once, and the environments still cannot disturb each other. gateway.py makes
missing environments; run this by hand to make all of them anew. Usage: make.py [NAME ...]
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).parent
NAMES = tuple(sorted(file.parent.name for file in PEERS.glob("*/requirements.in")))
_REPOSITORY = PEERS.parents[1]
_FOLDER = _REPOSITORY / ".lab" / "bench"
_COMMON = ("numpy", "pillow")


class PeerError(Exception):
    """A peer cannot be installed. The text has the reason."""


def python(name: str) -> Path:
    """Return the interpreter of a peer's environment; make it if missing or outdated. Raises PeerError."""
    made = _FOLDER / name / "made"
    if not made.is_file() or made.read_text() != _wanted(name):
        make(name)
    return _FOLDER / name / "bin" / "python"


def make(name: str) -> None:
    """Make a peer's environment anew. Raises PeerError."""
    folder = _FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    _run(_uv(), "venv", "--quiet", "--python", sys.executable, folder)
    requirements = ["--requirements", PEERS / name / "requirements.in", _tensorflow(), *_COMMON]
    # Compiled, or the first start of every worker would compile all of TensorFlow.
    options = ["--quiet", "--compile-bytecode", "--python", folder / "bin" / "python"]
    _run(_uv(), "pip", "install", *options, *requirements)
    (folder / "made").write_text(_wanted(name))


def version(name: str) -> str:
    """Return the installed versions of a peer's own requirements, as `name 1.2, name 3.4`."""
    listed = _run(_uv(), "pip", "freeze", "--quiet", "--python", _FOLDER / name / "bin" / "python")
    found = dict(line.split("==") for line in listed.splitlines() if "==" in line)
    wanted = re.findall(r"^[a-z-]+", (PEERS / name / "requirements.in").read_text(), re.MULTILINE)
    return ", ".join(f"{package} {found[package]}" for package in wanted if package in found)


def _uv() -> Path:
    tools = _FOLDER / "tools"
    if not (tools / "bin" / "uv").is_file():
        _run(sys.executable, "-m", "venv", tools)
        _run(tools / "bin" / "python", "-m", "pip", "install", "--quiet", "uv")
    return tools / "bin" / "uv"


def _wanted(name: str) -> str:
    return f"{_tensorflow()}\n{(PEERS / name / 'requirements.in').read_text()}"


def _tensorflow() -> str:
    match = re.search(r"^TENSORFLOW_VERSION=(\S+)$", (_REPOSITORY / "versions.env").read_text(), re.MULTILINE)
    assert match, "versions.env names the TensorFlow version"
    return f"tensorflow-cpu=={match[1]}"


def _run(*command: object) -> str:
    environment = {**os.environ, "UV_CACHE_DIR": str(_FOLDER / "cache")}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


if __name__ == "__main__":
    for given in sys.argv[1:] or NAMES:
        if given not in NAMES:
            sys.exit(f"unknown peer {given!r} (expected some of: {', '.join(NAMES)})")
        make(given)
        sys.stdout.write(f"{given}: {version(given)}\n")
