"""Send SIGNAL to one process of this lab and print its id: `SIGNAL all|children WORD...`.

The process is the first, by id, whose command line has all the words; with `children`, its parent's must have them too.
This program runs inside the service of that process.
"""

import os
import sys
from pathlib import Path

_MARK = b"LAB_ID=" + os.environ.get("LAB_ID", "").encode()


def main() -> None:
    number, which, *words = sys.argv[1:]
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    found = [pid for pid in pids if pid != os.getpid() and _matches(pid, words)]
    if which == "children":
        found = [pid for pid in found if _parent(pid) in found]
    for pid in sorted(found)[:1]:
        os.kill(pid, int(number))
        sys.stdout.write(f"{pid}\n")


def _matches(pid: int, wanted: list[str]) -> bool:
    """Return whether the process is of this lab and its command line has all words (argv[0] without folder, too)."""
    words = _read(pid, "cmdline").split(b"\0")
    ours = _MARK in _read(pid, "environ").split(b"\0") or _MARK == b"LAB_ID="
    return ours and all(word.encode() in (*words, words[0].rpartition(b"/")[2]) for word in wanted)


def _parent(pid: int) -> int:
    return int((_read(pid, "stat").rpartition(b")")[2].split() or [b"0", b"0"])[1])


def _read(pid: int, name: str) -> bytes:
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""


main()
