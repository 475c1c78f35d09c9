"""What is measured, over all workers: each writes files of its own in the run folder, and any of them adds them up.

`front.uwsgi` names the folder in PROMETHEUS_MULTIPROC_DIR and empties it at the start. A worker's files bear its number
at uWSGI, not its process id: the successor of a worker that died goes on with its counters, and no file is left over.
Without that variable (tests, a single process) everything is kept in memory.

Label values are bounded: a model is named only once it has answered, a status is a number, a reason one of `Reason`.
"""

import os
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess, values
from prometheus_client.mmap_dict import MmapedDict, mmap_key

_FOLDER = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
_MOST_VERSIONS = 200  # (model, version) pairs with a line of their own in each worker; more are counted as "other"

Reason = Literal["busy", "host", "key", "origin", "waited"]
"""Why a request was refused before anything looked at it."""


class _Kept:
    """A number in a file of this worker, as `prometheus_client` has it for several processes.

    Its own class locks each change against other threads, and looks each time whether the process was forked. Here one
    thread changes all numbers, and this module is imported after the fork.
    """

    _multiprocess = True
    _files: dict[str, MmapedDict] = {}  # noqa: RUF012 - one for all

    def __init__(
        self, kind: str, metric: str, name: str, labels: Any, values: Any, help_text: str, **more: Any
    ) -> None:
        kind = f"gauge_{more['multiprocess_mode']}" if kind == "gauge" else kind
        if kind not in self._files:
            self._files[kind] = MmapedDict(str(Path(str(_FOLDER)) / f"{kind}_{_worker()}.db"))
        self._file = self._files[kind]
        self._key = mmap_key(metric, name, labels, values, help_text)
        self._value = self._file.read_value(self._key)[0]

    def inc(self, amount: float) -> None:
        self._value += amount
        self._file.write_value(self._key, self._value, 0.0)

    def set(self, value: float, timestamp: float | None = None) -> None:  # noqa: ARG002 - theirs has it
        self._value = value
        self._file.write_value(self._key, value, 0.0)


def _worker() -> int:
    """uWSGI's number of this worker, from 1."""
    import uwsgi  # type: ignore[import-untyped]  # exists only in a process of uWSGI

    return int(uwsgi.worker_id())


if _FOLDER:
    values.ValueClass = _Kept

_registry = CollectorRegistry()
_seconds = Histogram(
    "tensor_rest_request_seconds",
    "Time in the worker, by the model and version that answered (empty: none did) and HTTP status.",
    ["model", "version", "outcome"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
    registry=_registry,
)
_in_flight = Gauge("tensor_rest_in_flight", "Requests being worked on.", registry=_registry, multiprocess_mode="sum")
_refused = Counter(
    "tensor_rest_refused", "Requests refused before any work, by reason.", ["reason"], registry=_registry
)
_batch_rows = Histogram(
    "tensor_rest_batch_rows",
    "Rows in one call to the model server, by model.",
    ["model"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
    registry=_registry,
)
_retries = Counter("tensor_rest_upstream_retries", "Calls to the model server sent once more.", registry=_registry)
_breaker = Gauge(
    "tensor_rest_breaker_open",
    "Workers that take the model server for away and refuse at once.",
    registry=_registry,
    multiprocess_mode="sum",
)
_in_flight.set(0)  # a worker that died left its own numbers behind
_breaker.set(0)

_models: set[str] = set()
_versions: set[tuple[str, str]] = set()
_lines: dict[tuple[str, str, int], Histogram] = {}  # a look-up here is half the price of one there
_batch_lines: dict[str, Histogram] = {}


def observe(model: str, version: str, outcome: int, seconds: float) -> None:
    """A request was answered with the status `outcome`, by this model and version; both empty if none answered."""
    if model and (model, version) not in _versions:
        if len(_versions) < _MOST_VERSIONS:
            _models.add(model)
            _versions.add((model, version))
        else:
            model = version = "other"
    line = _lines.get((model, version, outcome))
    if line is None:
        line = _lines[model, version, outcome] = _seconds.labels(model, version, outcome)
    line.observe(seconds)


def known(model: str) -> str:
    """`model` if it has answered before, else "": whatever else a client writes into a path is no label."""
    return model if model in _models else ""


def in_flight(change: Literal[1, -1]) -> None:
    """A request entered, or left."""
    _in_flight.inc(change)


def refused(reason: Reason) -> None:
    """A request was turned away."""
    _refused.labels(reason).inc()


def batch(model: str, rows: int) -> None:
    """`rows` were sent to a served `model` in one call."""
    line = _batch_lines.get(model)
    if line is None:
        line = _batch_lines[model] = _batch_rows.labels(model)
    line.observe(rows)


def retried() -> None:
    """A call to the model server was sent once more."""
    _retries.inc()


def breaker(is_open: bool) -> None:
    """This worker's circuit breaker opened or closed."""
    _breaker.set(is_open)


def text() -> bytes:
    """Everything, over all workers, in Prometheus' text format."""
    registry = _registry
    if _FOLDER:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, _FOLDER)
    return generate_latest(registry)
