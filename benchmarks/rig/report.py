"""Thresholds of figures, and how they are printed."""

from typing import Any

Threshold = dict[str, Any]


def at_least(what: str, found: float, limit: float) -> Threshold:
    """Return the threshold of a figure that must be at least `limit`."""
    return {"what": what, "found": found, "wanted": f">= {limit:g}", "passed": found >= limit}


def at_most(what: str, found: float, limit: float) -> Threshold:
    """Return the threshold of a figure that must be at most `limit`."""
    return {"what": what, "found": found, "wanted": f"<= {limit:g}", "passed": found <= limit}


def results(thresholds: list[Threshold]) -> str:
    """Return the thresholds as a table."""
    lines = [f"\n{'threshold':<52}{'found':>8}  {'wanted':<9}"]
    for each in thresholds:
        lines.append(
            f"{each['what']:<52}{each['found']:>8.2f}  {each['wanted']:<9}{'pass' if each['passed'] else 'MISSED'}"
        )
    return "\n".join([*lines, ""])
