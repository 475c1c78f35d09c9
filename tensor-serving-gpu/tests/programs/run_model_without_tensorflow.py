"""`FOLDER`: runs the model, and prints whether few modules were imported; fails if TensorFlow's Python package was."""

import sys
from pathlib import Path

from tests.programs.model_runs import once


def main() -> None:
    once(Path(sys.argv[1]))
    assert "tensorflow.python" not in sys.modules
    sys.stdout.write(f"{len(sys.modules) < 500}\n")


if __name__ == "__main__":
    main()
