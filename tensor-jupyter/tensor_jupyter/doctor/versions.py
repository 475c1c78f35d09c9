"""The installed versions of Python and the packages, compared with the pinned ones."""

import re
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from tensor_jupyter.doctor.finding import Finding, ok, problem, warning

LOCK = Path(__file__).parents[2] / "requirements.txt"
_PYTHONS = ((3, 10), (3, 13))  # the first and last with pinned wheels, as in versions.env
_INSTALL = "bin/compose.sh install"
_BUILD = "bin/push-docker.sh tensor-jupyter --no-push && bin/compose.sh up"


def check(container: bool, lock: Path = LOCK) -> list[Finding]:
    """One finding for Python, one for the packages."""
    fix = _BUILD if container else _INSTALL
    python = ".".join(map(str, sys.version_info[:3]))
    first, last = (".".join(map(str, version)) for version in _PYTHONS)
    fits = _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]
    finding = ok("Python", python) if fits else problem("Python", python, f"{first} to {last}", fix)
    return [finding, *_packages(lock, fix)]


def _packages(lock: Path, fix: str) -> list[Finding]:
    try:
        pins = _pins(lock.read_text())
    except OSError:
        return [warning("packages", f"{lock} is not there", "the versions to compare with", fix)]
    except InvalidRequirement as error:
        return [warning("packages", f"{lock}: {error}", "a lock file that bin/lock.sh has written", "bin/lock.sh")]
    installed = {name: _installed(name) for name in pins}
    missing = [name for name, version in installed.items() if version is None]
    other = [
        f"{name} {installed[name]}, pinned {pin}" for name, pin in pins.items() if installed[name] not in (None, pin)
    ]
    found = []
    if missing:
        found.append(problem("packages", f"missing: {_some(missing)}", f"all {len(pins)} of the lock file", fix))
    if other:
        found.append(
            warning("packages", f"{len(other)} other than pinned: {_some(other)}", "what was tested together", fix)
        )
    tensorflow = next((f"; {name} {pin}" for name, pin in pins.items() if name in ("tensorflow", "tensorflow-cpu")), "")
    return found or [ok("packages", f"all {len(pins)} as pinned{tensorflow}")]


def _pins(text: str) -> dict[str, str]:
    """The version of each package that this Python on this machine should have, by name."""
    lines = (line.rstrip(" \\") for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line))
    requirements = (Requirement(line) for line in lines)
    return {
        each.name: str(each.specifier).removeprefix("==")
        for each in requirements
        if not each.marker or each.marker.evaluate()
    }


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _some(items: list[str], most: int = 4) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
