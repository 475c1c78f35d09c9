"""Faults staged on a lab of their own under an open-loop load; each prints its figures and whether its bar was met.

`python -m tests.chaos --help` lists them; docs/reliability.md shows what they measured.
"""

import sys
from pathlib import Path

_ENGINE = str(Path(__file__).parents[2] / ".deploy")  # pytest has it on its path, `python -m` not
if _ENGINE not in sys.path:
    sys.path.append(_ENGINE)
