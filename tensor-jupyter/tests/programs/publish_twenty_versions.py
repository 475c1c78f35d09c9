"""`MODELS NAME`: after a line on its input, publishes twenty versions of `m` one by one, and prints their numbers."""

import sys
from pathlib import Path

from tensor_jupyter.publishing.staging import publish, staging


def main() -> None:
    models, name = Path(sys.argv[1]), sys.argv[2]
    sys.stdin.readline()
    for number in range(20):
        with staging(models) as folder:
            folder.mkdir()
            (folder / "saved_model.pb").write_text(f"{name} {number}")
            sys.stdout.write(f"{publish(folder, models, 'm').name}\n")


if __name__ == "__main__":
    main()
