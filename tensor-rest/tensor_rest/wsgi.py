"""What uWSGI loads in each worker: the application with settings from the environment."""

import gc
import logging

import gevent

from . import crew, preload  # noqa: F401 - preload before the others: it keeps out what nobody needs
from .app import create_app
from .settings import Settings

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
application = create_app(Settings())
gevent.spawn = crew.spawn  # uWSGI takes it when this is loaded, and starts each request with it

gc.collect()
gc.freeze()  # the application lives as long as the worker, and need not be walked at every collection
gc.set_threshold(20_000)  # at the usual 700 a busy worker would collect every few requests, for next to nothing
