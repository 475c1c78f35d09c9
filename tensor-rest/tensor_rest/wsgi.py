"""What uWSGI loads in each worker: the application with settings from the environment."""

import logging

from . import preload  # noqa: F401 - first: it keeps out what nobody needs
from .app import create_app
from .settings import Settings

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
application = create_app(Settings())
