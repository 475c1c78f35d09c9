"""Serving the models volume: config generator, watcher beside TensorFlow Serving, and the embedded model server.

Everything outside `embedded` needs the standard library only, because the generator and the watcher also run in the
container of the C++ server, whose Python has no packages.
"""

__version__ = "0.1.0"
