"""The command: python -m lab_sbom FOLDER [--release R] [--image REFERENCE]... [--lock FILE]..."""

import argparse
import subprocess
import sys
from pathlib import Path

from . import bill, sources


def main(arguments: list[str] | None = None) -> int:
    """Write a bill of materials for each image and lock file into the folder, and print their paths."""
    parser = argparse.ArgumentParser(prog="lab_sbom", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--release", default="", help="the release that the lock files belong to")
    parser.add_argument("--image", action="append", default=[], metavar="REFERENCE")
    parser.add_argument("--lock", action="append", default=[], type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        made = {}
        for reference in options.image:
            name = reference.rpartition(":")[0].rpartition("/")[2]
            made[f"{name}.image.cdx.json"] = bill.of_image(sources.image(reference))
        for path in options.lock:
            name = path.resolve().parent.name.lstrip(".")
            packages = sources.lock_file(path)
            made[f"{name}.lock.cdx.json"] = bill.of_lock_file(f"{name}/{path.name}", options.release, packages)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"no bill of materials: {error}\n")
        return 1
    for name, each in made.items():
        bill.write(each, options.folder / name)
        sys.stdout.write(f"{options.folder / name}: {len(each.components)} components\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
