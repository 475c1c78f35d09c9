"""`lab doctor`: what is wrong with the lab, and the command that fixes it."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tensor_jupyter.commands.console import errors_in_one_line, out, print_json
from tensor_jupyter.settings import Settings

if TYPE_CHECKING:
    from tensor_jupyter.doctor import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")] = False) -> None:
    """Check services, models, ports, exposure, folders, disk, memory, GPU and versions; print how to fix problems.

    Nothing is changed. Exit code 0 if there is no problem (there may be warnings), else 1.
    """
    with errors_in_one_line():
        from tensor_jupyter.doctor import examine

        found = examine(Settings.read())
        if as_json:
            levels = {level: sum(finding.level == level for finding in found) for level in _COLOURS}
            print_json({**levels, "findings": [asdict(finding) for finding in found]})
        elif out.is_terminal:
            _table(found)
        else:
            _lines(found)
        sys.exit(int(any(finding.level == "problem" for finding in found)))


def _table(found: "list[Finding]") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for finding in found:
        text = Text(finding.found)
        if finding.wanted:
            text.append(f"\nwanted: {finding.wanted}", "dim")
        if finding.fix:
            text.append(f"\n$ {finding.fix}", "bold")
        table.add_row(Text(finding.level, _COLOURS[finding.level]), finding.check, text)
    out.print(table, soft_wrap=False)


def _lines(found: "list[Finding]") -> None:
    """Print a line for each finding, and one for its command, so that the output can be searched."""
    for finding in found:
        wanted = f"; wanted: {finding.wanted}" if finding.wanted else ""
        out.print(f"{finding.level:7}  {finding.check}: {finding.found}{wanted}")
        if finding.fix:
            out.print(f"         $ {finding.fix}")
