"""The metrics, over all workers (observability/shared_values.py), or of this process where there are no workers.

Label values are bounded: a model is named only once it has answered, a status is a number, a reason one of `Reason`.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest, values

from tensor_rest.observability.shared_values import SharedValues, WorkerValues, shared

_MAX_VERSIONS = 200  # (model, version) pairs with a line of their own in each worker; more are counted as "other"

Reason = Literal["busy", "host", "key", "origin", "waited"]
"""Why a request was refused before it was processed."""


class _Kept:
    """A value in this worker's part of the shared memory, with the interface of `prometheus_client`'s value class.

    That class keeps values in files, locks each change against other threads, and checks each time whether the process
    was forked. Here one thread changes all values, and this module is imported after the fork.
    """

    _multiprocess = True
    _worker: WorkerValues

    def __init__(self, _kind: str, metric: str, name: str, labels: Any, values: Any, _help: str, **_more: Any) -> None:
        named = dict(zip(labels, map(str, values), strict=True))
        self._cells, self._at = self._worker.cell(json.dumps([metric, name, named], sort_keys=True))

    def inc(self, amount: float) -> None:
        self._cells[self._at] += amount

    def set(self, value: float, timestamp: float | None = None) -> None:  # noqa: ARG002 - part of the interface
        self._cells[self._at] = value


def _worker() -> int:
    """Return uWSGI's number of this worker, from 1; also 1 where the application is loaded before the fork."""
    import uwsgi  # type: ignore[import-untyped]  # exists only in a process of uWSGI

    return max(1, int(uwsgi.worker_id()))


if shared:
    _Kept._worker = shared.worker(_worker())
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
    "tensor_rest_refused",
    f"Requests refused before any work, by reason: {', '.join(get_args(Reason))}.",
    ["reason"],
    registry=_registry,
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
    "Workers whose circuit breaker is open: they refuse calls at once.",
    registry=_registry,
    multiprocess_mode="sum",
)
_concept = Histogram(
    "tensor_rest_concept_score",
    "Concept scores of classified images, by the classifier: higher is more foreign.",
    ["model"],
    buckets=(0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5),
    registry=_registry,
)
METRICS = (_seconds, _in_flight, _refused, _batch_rows, _retries, _breaker, _concept)

_in_flight.set(0)  # else the values of the worker that this one replaces would stay
_breaker.set(0)

_models: set[str] = set()
_versions: set[tuple[str, str]] = set()
_lines: dict[tuple[str, str, int], Histogram] = {}  # a look-up here costs half of one in `labels`
_batch_lines: dict[str, Histogram] = {}
_concept_lines: dict[str, Histogram] = {}


def observe(model: str, version: str, outcome: int, seconds: float) -> None:
    """Count a request answered with the status `outcome`, by this model and version; both empty if none answered."""
    if model and (model, version) not in _versions:
        if len(_versions) < _MAX_VERSIONS:
            _models.add(model)
            _versions.add((model, version))
        else:
            model = version = "other"
    line = _lines.get((model, version, outcome))
    if line is None:
        line = _lines[model, version, outcome] = _seconds.labels(model, version, outcome)
    line.observe(seconds)


def known(model: str) -> str:
    """Return `model` if it has answered before, else "": other names in a path must not become labels."""
    return model if model in _models else ""


def in_flight(change: Literal[1, -1]) -> None:
    """Count a request that starts (1) or ends (-1)."""
    _in_flight.inc(change)


def refused(reason: Reason) -> None:
    """Count a refused request."""
    _refused.labels(reason).inc()


def batch(model: str, rows: int) -> None:
    """Count a call with `rows` rows to a served `model`."""
    line = _batch_lines.get(model)
    if line is None:
        line = _batch_lines[model] = _batch_rows.labels(model)
    line.observe(rows)


def concept(model: str, scores: list[float]) -> None:
    """Count the companion's scores of images that a served `model` classified."""
    line = _concept_lines.get(model)
    if line is None:
        line = _concept_lines[model] = _concept.labels(model)
    for score in scores:
        line.observe(score)


def retried() -> None:
    """Count a repeated call to the model server."""
    _retries.inc()


def breaker(is_open: bool) -> None:
    """Record that this worker's circuit breaker opened or closed."""
    _breaker.set(is_open)


def text() -> bytes:
    """Return all metrics, over all workers, in Prometheus' text format."""
    registry = _registry
    if shared:
        registry = CollectorRegistry()
        registry.register(_AllWorkers(shared))
    return generate_latest(registry)


_Samples = list[tuple[str, dict[str, str], float]]


class _AllWorkers:
    """Sums over all workers, as a collector for `prometheus_client`."""

    def __init__(self, memory: SharedValues) -> None:
        self._memory = memory

    def collect(self) -> Iterator[Metric]:
        samples: dict[str, _Samples] = defaultdict(list)
        for key, value in self._memory.totals().items():
            metric, name, labels = json.loads(key)
            samples[metric].append((name, labels, value))
        for declared in METRICS:
            for family in declared.describe():
                own = samples[family.name]
                for sample in _accumulated(own) if family.type == "histogram" else own:
                    family.add_sample(*sample)
                yield family


def _accumulated(samples: _Samples) -> _Samples:
    """Return the samples of a histogram with cumulative buckets, and the count, which is that of the last bucket."""
    found: _Samples = [sample for sample in samples if not sample[0].endswith("_bucket")]
    buckets = defaultdict(list)
    for name, labels, value in samples:
        if name.endswith("_bucket"):
            others = tuple(item for item in labels.items() if item[0] != "le")
            buckets[name, others].append((float(labels["le"]), labels, value))
    for (name, others), several in buckets.items():
        total = 0.0
        for _, labels, value in sorted(several, key=lambda bucket: bucket[0]):
            total += value
            found.append((name, labels, total))
        found.append((f"{name.removesuffix('_bucket')}_count", dict(others), total))
    return found
