"""`FOLDER [BYTES]`: exports a model of several MB below it; prints where to, or `error:` and what the export reports.

BYTES: the largest size of a file. Set here, since gRPC's fork handlers may abort a child made with `preexec_fn`.
"""

import resource
import sys
from pathlib import Path

from tests.programs.small_export import export

from tensor_jupyter.errors import LabError


def main() -> None:
    for size in map(int, sys.argv[2:]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        sys.stdout.write(f"{export(Path(sys.argv[1]), width=300_000)}\n")
    except LabError as error:
        sys.stdout.write(f"error: {error}\n")


if __name__ == "__main__":
    main()
