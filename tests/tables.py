"""Tables in documents that are made from records: between two comments, the first with the command that writes them."""

import sys
from pathlib import Path

_END = "<!-- end -->\n"


def write_table(document: Path, command: str, table: str, check: bool) -> int:
    """Put `table` where the document has that of `command`; with `check` only compare. Returns the exit code."""
    begin = f"<!-- begin: {command} -->\n"
    text = document.read_text()
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(_END)
    assert found, f"{document.name} has no line {begin}"
    assert closed, f"{document.name} has no line {_END} after {begin}"
    made = f"{before}{begin}{table}{_END}{after}"
    if made == text:
        return 0
    if check:
        sys.stderr.write(f"{document.name} is not what the records say: run {command}\n")
        return 1
    document.write_text(made)
    return 0
