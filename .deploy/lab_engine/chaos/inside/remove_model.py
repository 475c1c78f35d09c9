"""Remove a model, published or staged: `NAME`."""

import os
import shutil
import sys
from pathlib import Path

models = Path(os.environ["LAB_MODELS"])
for folder in (models / sys.argv[1], models / ".staging" / sys.argv[1]):
    shutil.rmtree(folder, ignore_errors=True)
