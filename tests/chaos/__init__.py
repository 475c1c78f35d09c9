"""Faults staged on a lab of their own under an open-loop load; each prints figures and whether its criterion was met.

`python -m tests.chaos --help` lists them; docs/reliability.md shows what they measured.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_FOLDERS = (".deploy", "tensor-serving-gpu", "tensor-serving-gpu/tests")  # the last for what its own tests share
sys.path += [str(_ROOT / folder) for folder in _FOLDERS if str(_ROOT / folder) not in sys.path]
