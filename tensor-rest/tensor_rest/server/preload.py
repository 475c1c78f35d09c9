"""Runs once in uWSGI's master, before it forks the workers: gevent's patches, then imports that every worker needs.

A worker then starts in a third of the time, and the workers share the memory. Only what may be shared is imported
here: nothing that starts a thread, or opens a file or a connection, when it is imported.
"""

import gevent
from gevent import monkey

# Recording which greenlet started which is for debugging only, and a quarter of the cost of starting a greenlet.
gevent.config.track_greenlet_tree = False
monkey.patch_all()  # before anything imports what it replaces: sockets, locks, threads, sleep

import gc  # noqa: E402
import importlib  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402

_UNUSED = ("rfc3987_syntax", "isoduration")
"""Format checkers that jsonschema, a dependency of Flask-RESTX, imports if they are installed (JupyterLab installs
them). Nothing here uses them, and they take longer to import than all the rest: 0.8 s for the grammar of IRIs."""

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

# uWSGI's master looks for ended workers once a second, and whenever a signal interrupts its wait. SIGCHLD interrupts it
# only if it has a handler.
monkey.get_original("signal", "signal")(signal.SIGCHLD, lambda *_: None)

for name in _UNUSED:
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # importing it fails as if it were not installed
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
gc.freeze()  # the collector would write into every object, and a page that is written to is no longer shared
