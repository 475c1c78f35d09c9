"""How the command `lab` is typed where this process was started, for messages that advise one."""

import os

LAB = os.environ.get("LAB_COMMAND") or "lab"  # bin/lab sets it; JupyterLab has `lab` on its PATH
