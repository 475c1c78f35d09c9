"""`WORD...`: kills the first process that has all the words in its command line; fails with a line if none has.

Runs in the lab's images, which have no ps and no pkill.
"""

import os
import sys
from pathlib import Path


def main() -> None:
    for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda entry: int(entry.name)):
        line = (entry / "cmdline").read_bytes().decode().replace("\0", " ")
        if int(entry.name) != os.getpid() and all(word in line for word in sys.argv[1:]):
            os.kill(int(entry.name), 9)
            sys.exit()
    sys.exit(f"no process has {sys.argv[1:]} in its command line")


if __name__ == "__main__":
    main()
