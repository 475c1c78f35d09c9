"""API keys of the gateway, as its command makes them."""

import os
import subprocess
import sys

from tests.running import ROOT


def api_key(name: str) -> tuple[str, str]:
    """A new key, and its line in the file of keys."""
    command = [sys.executable, "-m", "tensor_rest", "key", name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tensor-rest")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return next(word for word in done.stderr.split() if word.startswith("lab_")), done.stdout.strip()
