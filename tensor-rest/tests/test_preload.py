"""What uWSGI's master loads before it forks: libraries that allow it, and none that is not needed."""

import json
import subprocess
import sys

from gateway_kit import PROGRAMS, with_project


def test_nothing_is_started_or_opened_and_no_code_of_a_worker_is_loaded() -> None:
    environment = {**with_project(), "OPENBLAS_NUM_THREADS": "1"}
    program = [sys.executable, str(PROGRAMS / "loaded_by_preload.py")]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["threads"], found["opened"]) == (1, 0)
    assert not found["tree"]
    assert {"hpack", "numpy", "flask_restx"} <= set(found["loaded"])
    ours = {name for name in found["loaded"] if name.startswith("tensor_rest")}
    assert ours == {"tensor_rest", "tensor_rest.server", "tensor_rest.server.preload"}
    assert not {"rfc3987_syntax", "isoduration", "tensorflow", "grpc"} & set(found["loaded"])
