"""What uWSGI loads in each worker: the application with settings from the environment."""

import logging

from .app import create_app
from .settings import Settings

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
application = create_app(Settings())
