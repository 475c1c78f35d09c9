"""A stand-in for tensorflow_model_server: the embedded server, with TensorFlow Serving's manners at start and stop.

Its ports open only after so many seconds, as if models took that long; it ends with 255 when the newest listed
version of a model does not load (which a file `does-not-load` in it stages); TERM ends it at once, without a drain.
Usage: stand_in.py SECONDS FLAG...
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

MARK = "does-not-load"
_ITS_OWN = ("--allow_version_labels_for_unavailable_models", "--rest_api_num_threads")  # flags of the binary only


def main(seconds: float, flags: list[str]) -> int:
    time.sleep(seconds)
    config = next(flag.partition("=")[2] for flag in flags if flag.startswith("--model_config_file="))
    for block in Path(config).read_text().split("config {")[1:]:
        (folder,) = re.findall(r'base_path: "(.*)"', block)
        listed = re.findall(r"versions: (\d+)", block) or [p.name for p in Path(folder).glob("[0-9]*")]
        newest = max(map(int, listed))
        if (Path(folder) / str(newest) / MARK).exists():
            name = Path(folder).name
            print(  # noqa: T201
                f"Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{{{name: {name} "
                f"version: {newest}}} due to error: DATA_LOSS: Checksum does not match}}",
                flush=True,
            )
            return 255
    known = [flag for flag in flags if not flag.startswith(_ITS_OWN)]
    server = subprocess.Popen([sys.executable, "-m", "tensor_serving", "serve", *known])

    def end(*_received: object) -> None:
        server.kill()
        os._exit(143)

    signal.signal(signal.SIGTERM, end)
    return server.wait()


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
