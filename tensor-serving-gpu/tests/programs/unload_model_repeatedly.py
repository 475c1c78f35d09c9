"""`FOLDER FIRST`: runs the model FIRST, then FOLDER's eight times; prints the megabytes held loaded, unloaded, ..."""

import sys
from pathlib import Path

from tests.programs.model_runs import megabytes, once


def main() -> None:
    folder, first = map(Path, sys.argv[1:])
    once(first)
    sizes = [size for _ in range(8) for size in (once(folder), megabytes())]
    sys.stdout.write(" ".join(map(str, sizes)) + "\n")


if __name__ == "__main__":
    main()
