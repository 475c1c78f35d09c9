"""Publish a copy of the newest version of MODEL as version 1 of NAME, with damaged weights: `NAME MODEL`."""

import os
import shutil
import sys
from pathlib import Path

models, (name, shipped) = Path(os.environ["LAB_MODELS"]), sys.argv[1:]
staged = models / ".staging" / name
shutil.rmtree(staged, ignore_errors=True)
newest = max(int(version.name) for version in (models / shipped).iterdir() if version.name.isdecimal())
shutil.copytree(models / shipped / str(newest), staged / "1")
data = next((staged / "1" / "variables").glob("*.data-*"))
data.write_bytes(b"damaged!" + data.read_bytes()[8:])
staged.rename(models / name)
