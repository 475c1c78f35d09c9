"""What every worker needs, for uWSGI's master to do once, before it forks: gevent's patches, then the libraries.

A worker then starts in a third of the time, and they share the memory. Only what may be shared is here: nothing that
starts a thread, opens a file or a connection when it is imported.
"""

import gevent
from gevent import monkey

gevent.config.track_greenlet_tree = (
    False  # which greenlet started which: for debugging, and a quarter of what starting costs
)
monkey.patch_all()  # before anything takes hold of what it replaces: sockets, locks, threads, sleep

import gc  # noqa: E402
import importlib  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402

_UNUSED = ("rfc3987_syntax", "isoduration")
"""Checkers of formats, which jsonschema loads where they are installed, and Flask-RESTX loads jsonschema. Nothing here
uses them, and they cost more than all the rest: 0.8 s for the grammar of IRIs, which comes with JupyterLab."""

_SHARED = (
    "flask_restx",
    "google.protobuf.any_pb2",
    "google.protobuf.wrappers_pb2",
    "hpack",
    "numpy",
    "orjson",
    "PIL.ImageOps",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "pydantic_settings",
    "simplejpeg",
)

# uWSGI's master looks for workers that ended once a second, and whenever a signal interrupts its wait: the end of a
# worker does so only where there is a handler.
monkey.get_original("signal", "signal")(signal.SIGCHLD, lambda *_: None)

for name in _UNUSED:
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # an import of it fails as if it were not there
for name in _SHARED:
    importlib.import_module(name)

try:
    import uwsgi  # type: ignore[import-untyped]  # exists only in a process of uWSGI
except ImportError:
    pass
else:
    from tensor_rest.observability import shared_values

    shared_values.shared = shared_values.SharedValues(uwsgi.numproc)

gc.collect()
gc.freeze()  # the collector would write into every object, and a page that is written to is shared no longer
