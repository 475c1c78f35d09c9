"""Measure in a running lab: the time from an export's rename to its first REST answer, and calls that fail meanwhile.

    bin/compose.sh up && .lab/venv/bin/python benchmarks/freshness.py

A copy of a served version is renamed into the models folder under the next number, as a trainer does, again and again;
meanwhile other clients call the same model through the gateway without a pause, and all of their answers must be 200.
The benchmark uses a model of its own and removes it at the end. Exit code 1 when a threshold is missed.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_MEDIAN_S = 2.0  # seconds
ANSWER_TIMEOUT_S = 30.0  # for one version to answer
CLIENTS = 4

# Loopback never goes through a proxy.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Gateway:
    """One model of the lab, called through the gateway with one sample image."""

    def __init__(self, url: str, model: str) -> None:
        image = next((ROOT / "tensor-rest" / "data" / "mnist").glob("*.jpg")).read_bytes()
        head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.jpg"\r\n\r\n'
        self._url = f"{url.rstrip('/')}/tf/mnist/{model}"
        self._body = head + image + b"\r\n--b--\r\n"

    def classify(self) -> str:
        """Send the image and return the version that answered. Raises OSError with the status when none did."""
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        with _open(urllib.request.Request(self._url, self._body, headers), timeout=30) as answer:
            return str(answer.headers["X-Model-Version"])

    def wait_for(self, version: int) -> float:
        """Return time.monotonic() of this version's first answer."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                if self.classify() == str(version):
                    return time.monotonic()
            except urllib.error.HTTPError as error:
                error.close()
            if time.monotonic() > deadline:
                timeout = f"{ANSWER_TIMEOUT_S:.0f} s after its rename"
                sys.exit(f"version {version} does not answer {timeout}; see GET /tf/models")


class Load:
    """Calls the model from CLIENTS threads, without a pause, until the block ends; `failed` lists the errors."""

    def __init__(self, gateway: Gateway) -> None:
        self.answered, self.failed = 0, []  # type: int, list[str]
        self._gateway, self._stop, self._lock = gateway, threading.Event(), threading.Lock()
        self._clients = [threading.Thread(target=self._call) for _ in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for client in self._clients:
            client.join()

    def _call(self) -> None:
        while not self._stop.is_set():
            try:
                self._gateway.classify()
                with self._lock:
                    self.answered += 1
            except OSError as error:
                self.failed.append(str(error))


def main(arguments: list[str]) -> int:
    """Measure and print; return the exit code."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # or the model would stay in the lab
    source = given.models / given.source
    versions = sorted(int(entry.name) for entry in source.glob("[1-9]*") if entry.name.isdecimal())
    if not versions:
        sys.exit(f"{source} holds no version to copy: is the lab up (bin/compose.sh up)? Else name --models")
    model = f"freshness-{os.getpid()}"
    (given.models / model).mkdir()
    try:
        seconds, load = _measure(given, source / str(versions[-1]), model)
    finally:
        shutil.rmtree((given.models / model).rename(given.models / f".{model}"))
    median = statistics.median(seconds)
    lines = [
        f"rename -> first REST answer, {len(seconds)} versions: median {median:.2f} s, "
        f"least {min(seconds):.2f}, most {max(seconds):.2f} (threshold: median at most {MAX_MEDIAN_S} s)",
        f"calls during the swaps: {load.answered} answered, {len(load.failed)} failed (threshold: 0)",
        *(f"  {load.failed.count(text)} x {text}" for text in sorted(set(load.failed))),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if given.json:
        figures = {"seconds": seconds, "median": median, "answered": load.answered, "failed": len(load.failed)}
        given.json.write_text(json.dumps(figures))
    return 1 if not given.no_thresholds and (median > MAX_MEDIAN_S or load.failed) else 0


def _measure(given: argparse.Namespace, export: Path, model: str) -> tuple[list[float], Load]:
    """Return the seconds for each of the versions after the first, and the load that ran meanwhile."""
    gateway, seconds = Gateway(given.url, model), []
    _publish(given.models, export, model, 1)
    gateway.wait_for(1)
    with Load(gateway) as load:
        for version in range(2, given.renames + 2):
            renamed = _publish(given.models, export, model, version)
            seconds.append(gateway.wait_for(version) - renamed)
            # The lab polls its folders at fixed intervals; an uneven pause spreads the renames over such an interval.
            time.sleep(0.37)
    return seconds, load


def _publish(models: Path, export: Path, model: str, version: int) -> float:
    """Copy an export into the staging folder, rename it into place, and return time.monotonic() of the rename."""
    staged = models / ".staging" / f"{model}-{version}"
    shutil.copytree(export, staged)
    staged.rename(models / model / str(version))
    return time.monotonic()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    home = Path(os.environ.get("LAB_HOME") or ROOT / ".lab")
    port = os.environ.get("LAB_REST_PORT", "8080")
    parser.add_argument("--url", default=f"http://127.0.0.1:{port}", help="the gateway (default: %(default)s)")
    parser.add_argument("--models", type=Path, default=home / "models", help="models folder (default: %(default)s)")
    parser.add_argument("--source", default="mnist-net", help="the model to copy (default: %(default)s)")
    parser.add_argument("--renames", type=int, default=20, help="versions to measure (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--no-thresholds", action="store_true", help="exit with 0 also when a threshold is missed")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
