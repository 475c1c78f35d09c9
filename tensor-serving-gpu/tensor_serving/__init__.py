"""What is served from the models volume: config generator, watcher beside TensorFlow Serving, and the embedded server.

Everything outside `embedded` needs the standard library only, because the generator and the watcher also run in the
container of the C++ server, which has nothing but a bare Python.
"""

__version__ = "0.1.0"
