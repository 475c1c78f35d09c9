"""The result of one check: what was found, what is wanted, and the command that fixes it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """check: what was checked, such as "disk"; found, wanted: texts for users; fix: a command to type, "" if none."""

    check: str
    level: Level
    found: str
    wanted: str = ""
    fix: str = ""


def ok(check: str, found: str) -> Finding:
    """Return a finding that requires nothing to be done."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, wanted: str, fix: str = "") -> Finding:
    """Return a finding for a lab that works, but not as well or as safely as it could, or not for long."""
    return Finding(check, "warning", found, wanted, fix)


def problem(check: str, found: str, wanted: str, fix: str = "") -> Finding:
    """Return a finding for a part of the lab that does not work, or is open to other hosts."""
    return Finding(check, "problem", found, wanted, fix)
