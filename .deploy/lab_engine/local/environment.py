"""The lab's Python environment: made once from the pinned requirements with hashes, and again when those change."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .. import console
from ..errors import EngineError
from ..settings import ROOT, Settings

LOCK = ROOT / ".deploy" / "requirements.txt"
_MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
_MAX_OUTPUT_BYTES = 2**22  # bytes of pip's output that are read; it prints some 100 KB
SERVICES = ("tensor-jupyter", "tensor-serving-gpu", "tensor-rest")


def is_current(settings: Settings, lock: Path = LOCK) -> bool:
    """Return whether the environment was made completely from this lock file, by this minor version of Python."""
    stamp = _stamp(settings, lock)
    return settings.python.exists() and stamp.exists() and stamp.read_text() == _fingerprint(settings, lock)


def ensure(settings: Settings) -> None:
    """Make the environment if it is missing, incomplete or outdated; on failure remove it and raise EngineError."""
    if not is_current(settings):
        try:
            _make(settings)
            install(settings, LOCK, "installing the lab's packages")
        except BaseException:  # also an interrupt: an incomplete environment must not be used
            shutil.rmtree(settings.venv, ignore_errors=True)
            raise
    _link_services(settings)


def install(settings: Settings, lock: Path, title: str) -> None:
    """Install a lock file into the environment, with progress; raises EngineError with pip's last lines."""
    if is_current(settings, lock):
        return
    command = [
        *(str(settings.python), "-m", "pip", "install", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--requirement", str(lock)),
    ]
    total = len(re.findall(r"^[A-Za-z0-9_.-]+==", lock.read_text(), re.MULTILINE))
    with console.Progress(title) as progress:
        _run(command, _site_packages(settings), total, progress)
    _stamp(settings, lock).write_text(_fingerprint(settings, lock))


def _make(settings: Settings) -> None:
    shutil.rmtree(settings.venv, ignore_errors=True)
    with console.Progress(f"making the Python environment in {settings.venv}"):
        command = [sys.executable, "-m", "venv", str(settings.venv)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise EngineError(
            f"Python {_MINOR} could not make a virtual environment; on Debian or Ubuntu that is a package of its own: "
            f"apt-get install python{_MINOR}-venv\n{_last_lines(made.stdout + made.stderr)}"
        )


def _run(command: Sequence[str], site_packages: Path, total: int, progress: console.Progress) -> None:
    """Run pip. Progress is what it has begun to fetch, then the packages in the folder, which pip does not report."""
    before = _packages_in(site_packages)
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as pip,
    ):

        def printed() -> str:
            return os.pread(output.fileno(), _MAX_OUTPUT_BYTES, 0).decode(errors="replace")

        while pip.poll() is None:
            time.sleep(0.2)
            text = printed()
            wanted = re.search(r"^Installing collected packages: (.+)$", text, re.MULTILINE)
            if wanted:
                installed = _packages_in(site_packages) - before
                progress.update(f"installed {installed} of {len(wanted[1].split(', '))} packages")
            elif names := re.findall(r"^Collecting ([A-Za-z0-9_.-]+)", text, re.MULTILINE):
                progress.update(f"fetching {len(names)} of at most {total}: {names[-1]}")
        text = printed()
    if pip.returncode:
        raise EngineError(
            "the packages could not be installed: is the package index reachable (pip's own settings and "
            f"PIP_* variables are used), is the disk full?\n{_last_lines(text)}"
        )


def _packages_in(site_packages: Path) -> int:
    return sum(1 for _ in site_packages.glob("*.dist-info"))


def _site_packages(settings: Settings) -> Path:
    return next(settings.venv.glob("lib/python3.*/site-packages"))


def _link_services(settings: Settings) -> None:
    """Put the clone's service folders on the environment's path, and the command `lab` among its programs."""
    text = "".join(f"{ROOT / service}\n" for service in SERVICES)
    link = _site_packages(settings) / "tensor_lab.pth"
    if not link.exists() or link.read_text() != text:
        link.write_text(text)
    command = settings.venv / "bin" / "lab"  # for the terminals of JupyterLab
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(str(settings.python))} -m tensor_jupyter "$@"\n')
    command.chmod(0o755)


def _stamp(settings: Settings, lock: Path) -> Path:
    name = "-".join(lock.relative_to(ROOT).with_suffix("").parts).strip(".")
    return settings.venv / f"{name}.installed"


def _fingerprint(settings: Settings, lock: Path) -> str:
    # The folder counts too: a virtual environment does not survive being moved.
    return f"{_MINOR} {settings.venv.resolve()} {hashlib.sha256(lock.read_bytes()).hexdigest()}\n"


def _last_lines(text: str, count: int = 12) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-count:])
