"""What uWSGI's master loads before it forks: libraries that allow it, and none that is not needed."""

import json
import os
import subprocess
import sys

from gateway_kit import PROJECT

_LOOK = """
import json, os, sys
before = set(os.listdir("/proc/self/fd"))
import tensor_rest.server.preload
import gevent
opened = len(set(os.listdir("/proc/self/fd")) - before)
loaded = [name for name, module in sys.modules.items() if module is not None]
threads, tree = len(os.listdir("/proc/self/task")), gevent.config.track_greenlet_tree
print(json.dumps({"threads": threads, "opened": opened, "loaded": loaded, "tree": tree}))
"""


def test_nothing_is_started_or_opened_and_no_code_of_a_worker_is_loaded() -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", _LOOK], env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["threads"], found["opened"]) == (1, 0)
    assert not found["tree"]
    assert {"hpack", "numpy", "flask_restx"} <= set(found["loaded"])
    ours = {name for name in found["loaded"] if name.startswith("tensor_rest")}
    assert ours == {"tensor_rest", "tensor_rest.server", "tensor_rest.server.preload"}
    assert not {"rfc3987_syntax", "isoduration", "tensorflow", "grpc"} & set(found["loaded"])
