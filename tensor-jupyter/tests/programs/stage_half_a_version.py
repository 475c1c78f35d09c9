"""`MODELS`: writes a part of a version, prints its staging area, and keeps it until a line comes on its input."""

import sys
from pathlib import Path

from tensor_jupyter.publishing.staging import staging


def main() -> None:
    with staging(Path(sys.argv[1])) as folder:
        folder.mkdir()
        (folder / "saved_model.pb").write_text("half")
        sys.stdout.write(f"{folder.parent}\n")
        sys.stdout.flush()
        sys.stdin.readline()


if __name__ == "__main__":
    main()
