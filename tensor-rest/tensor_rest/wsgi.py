"""What uWSGI loads in each worker: the application with settings from the environment."""

import gc
import logging

import gevent

import tensor_rest.server.preload  # noqa: F401 - before the others: it keeps out what is not used
from tensor_rest.app import create_app
from tensor_rest.runtime import greenlet_pool
from tensor_rest.settings import Settings

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
application = create_app(Settings())
gevent.spawn = greenlet_pool.spawn  # uWSGI takes it when this is loaded, and starts each request with it

gc.collect()
gc.freeze()  # the application lives as long as the worker, and need not be walked at every collection
gc.set_threshold(20_000)  # at the usual 700 a busy worker would collect every few requests, for next to nothing
