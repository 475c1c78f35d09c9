"""Copying the shipped models into an empty models volume: in Kubernetes a volume hides those of the image."""

import errno
import logging
import shutil
import tempfile
from pathlib import Path

SHIPPED = Path(__file__).parent.parent / "serving"

log = logging.getLogger(__name__)


def seed(models: Path, shipped: Path = SHIPPED) -> list[str]:
    """Copy the shipped models into a volume without visible entries; return the names of those copied.

    Each model appears complete, by one rename; of several processes that do this at the same time, one succeeds. The
    files are writable for the group, as in a volume that Docker fills.

    Raises OSError when the volume cannot be read or written.
    """
    models.mkdir(parents=True, exist_ok=True)
    if any(not entry.name.startswith(".") for entry in models.iterdir()):
        return []
    staging = models / ".staging"
    staging.mkdir(exist_ok=True)
    copied = []
    for model in sorted(entry for entry in shipped.iterdir() if entry.is_dir()):
        folder = Path(tempfile.mkdtemp(prefix=f"seed-{model.name}-", dir=staging))
        try:
            shutil.copytree(model, folder, dirs_exist_ok=True)
            for each in (folder, *folder.rglob("*")):
                each.chmod(0o2775 if each.is_dir() else 0o664)
            folder.rename(models / model.name)
            copied.append(model.name)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # else another process was first
                raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return copied
