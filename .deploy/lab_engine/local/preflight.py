"""Checks before anything is started: they report what would make `up` fail later, and change nothing."""

import os
import shutil

from ..errors import EngineError
from ..settings import Settings

GIB = 1024**3
# Measured: the environment takes 2.3 GiB, and pip needs additional space for one unpacked wheel.
SPACE_FOR_ENVIRONMENT = 4 * GIB
SPACE_TO_RUN = GIB // 4


def check_folder(settings: Settings, needed: int) -> None:
    """Raise EngineError unless the state folder can be made and written, and its disk has `needed` bytes free."""
    folder = settings.home
    try:
        settings.make_home()
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise EngineError(
            f"the state folder {folder} cannot be written ({error.strerror}): make it writable for "
            f"user {os.getuid()}, or set LAB_HOME to a folder that is"
        ) from None
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EngineError(
            f"the disk of {folder} has {free / GIB:.1f} GiB free and {needed / GIB:.1f} GiB are needed: "
            "free some, or set LAB_HOME to a folder on another disk"
        )
