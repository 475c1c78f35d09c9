"""JupyterLab as the lab runs it, whichever engine starts it: loopback, a token, no calls home.

Its root is LAB_WORKSPACE, else this folder: notebook/ in it holds the notebooks. The token comes from the file
that JUPYTER_TOKEN_FILE names. The pages about runs, in LAB_DATA, are seen there as reports/.
"""

import contextlib
import os
from pathlib import Path

from tensor_jupyter import ports

c = get_config()  # noqa: F821 - Jupyter provides it

root = Path(os.environ.get("LAB_WORKSPACE") or Path(__file__).resolve().parent)
if data := os.environ.get("LAB_DATA"):
    reports = Path(data).absolute() / "reports"
    with contextlib.suppress(OSError):  # the image, which is read-only, has the link
        reports.mkdir(parents=True, exist_ok=True)
        (root / "reports").symlink_to(os.path.relpath(reports, root))

c.ServerApp.root_dir = str(root)
c.ServerApp.ip = os.environ.get("LAB_JUPYTER_HOST", "127.0.0.1")
c.ServerApp.port = int(os.environ.get("LAB_JUPYTER_PORT", ports.JUPYTER))
c.ServerApp.port_retries = 0  # a taken port is an error, not another port
c.ServerApp.open_browser = False
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.news_url = None
c.LabApp.extension_manager = "readonly"
c.LabApp.app_settings_dir = str(Path(__file__).resolve().parent / "settings")  # no question about news
