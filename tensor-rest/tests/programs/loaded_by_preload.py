"""Loads what uWSGI's master loads and prints, as JSON, its threads, the files it opened and the modules it loaded."""

import json
import sys
from pathlib import Path

before = set(Path("/proc/self/fd").iterdir())

import gevent  # noqa: E402

import tensor_rest.server.preload  # noqa: E402, F401

opened = len(set(Path("/proc/self/fd").iterdir()) - before)
loaded = [name for name, module in sys.modules.items() if module is not None]
threads, tree = len(list(Path("/proc/self/task").iterdir())), gevent.config.track_greenlet_tree
sys.stdout.write(json.dumps({"threads": threads, "opened": opened, "loaded": loaded, "tree": tree}))
