"""Publish a copy of the newest version of MODEL as version 1 of NAME, with damaged weights: `NAME MODEL`."""

import os
import shutil
import sys
from pathlib import Path

models, (name, shipped) = Path(os.environ["LAB_MODELS"]), sys.argv[1:]
staged = models / ".staging" / name
shutil.rmtree(staged, ignore_errors=True)
shutil.copytree(max((models / shipped).glob("[0-9]*")), staged / "1")
data = next((staged / "1" / "variables").glob("*.data-*"))
data.write_bytes(b"damaged!" + data.read_bytes()[8:])
staged.rename(models / name)
