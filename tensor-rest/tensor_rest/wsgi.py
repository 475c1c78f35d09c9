"""What uWSGI loads in each worker: the application with settings from the environment."""

import gc
import logging

import gevent

import tensor_rest.server.preload  # noqa: F401 - first: it blocks imports that are not needed
from tensor_rest.app import create_app
from tensor_rest.runtime import greenlet_pool
from tensor_rest.settings import Settings

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
application = create_app(Settings())
gevent.spawn = greenlet_pool.spawn  # uWSGI reads it after loading this module, and starts each request with it

gc.collect()
gc.freeze()  # the application lives as long as the worker: no collection needs to scan it
gc.set_threshold(20_000)  # with the default of 700 a busy worker collects every few requests and frees next to nothing
