"""How the user types the command `lab` here, for messages that suggest a command."""

import os

LAB = os.environ.get("LAB_COMMAND") or "lab"  # bin/lab sets it; JupyterLab has `lab` on its PATH
