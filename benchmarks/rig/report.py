"""Bars and how they are printed."""

from typing import Any

Bar = dict[str, Any]


def at_least(what: str, found: float, bar: float) -> Bar:
    """A bar for a figure that is to be high."""
    return {"what": what, "found": found, "wanted": f">= {bar:g}", "passed": found >= bar}


def at_most(what: str, found: float, bar: float) -> Bar:
    """A bar for a figure that is to be low."""
    return {"what": what, "found": found, "wanted": f"<= {bar:g}", "passed": found <= bar}


def verdicts(bars: list[Bar]) -> str:
    """The bars as a table."""
    lines = [f"\n{'bar':<52}{'found':>8}  {'wanted':<9}"]
    for bar in bars:
        lines.append(
            f"{bar['what']:<52}{bar['found']:>8.2f}  {bar['wanted']:<9}{'pass' if bar['passed'] else 'MISSED'}"
        )
    return "\n".join([*lines, ""])
