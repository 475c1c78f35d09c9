"""The result of one check: what was found, what is wanted, and the command that fixes it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """check: what was looked at, as "disk". found and wanted are for people; fix is a command to type, "" if none."""

    check: str
    level: Level
    found: str
    wanted: str = ""
    fix: str = ""


def ok(check: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, wanted: str, fix: str = "") -> Finding:
    """The lab works, but not as well or as safely as it could, or not for long."""
    return Finding(check, "warning", found, wanted, fix)


def problem(check: str, found: str, wanted: str, fix: str = "") -> Finding:
    """Something that the lab is for does not work, or is open to other hosts."""
    return Finding(check, "problem", found, wanted, fix)
