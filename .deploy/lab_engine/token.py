"""JupyterLab's token: made once for a lab, readable only by its user."""

import os
import secrets

from .settings import Settings


def make(settings: Settings) -> None:
    """Make the token unless there is one."""
    if settings.token_file.exists() and read(settings):
        return
    settings.make_home()
    with open(settings.token_file, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(secrets.token_hex(24))


def read(settings: Settings) -> str:
    """Return the token, empty if there is none yet."""
    return settings.token_file.read_text().strip() if settings.token_file.exists() else ""
