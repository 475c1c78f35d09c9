"""`kube_kit` has the helpers for manifests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests; importlib mode leaves them out
