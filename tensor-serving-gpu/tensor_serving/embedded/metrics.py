"""The server's metrics, under TensorFlow Serving's own names, and their Prometheus text.

`prometheus_client` cannot write these names unchanged (it appends `_total` and `_created`) and costs several
microseconds a call; a counter here is one dict look-up and an addition under a lock. Latencies are histograms in
microseconds with TF Serving's buckets. Thread-safe.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from threading import Lock

from tensor_serving.embedded import textproto

PATH = "/monitoring/prometheus/metrics"  # unless the monitoring config names another
_REPLACED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Metrics:
    """The server's counters. All durations are passed in seconds."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._models: set[str] = set()
        count, histogram = _Counter, _Histogram
        self._requests = count(":tensorflow:serving:request_count", "model_name", "status")
        self._latency = histogram(":tensorflow:serving:request_latency", _LATENCY, "model_name", "API", "entrypoint")
        self._runtime = histogram(":tensorflow:serving:runtime_latency", _LATENCY, "model_name", "API", "runtime")
        self._warmup = histogram(":tensorflow:serving:model_warmup_latency", _LATENCY, "model_path", "status")
        self._loads = count(":tensorflow:cc:saved_model:load_attempt_count", "model_path", "status")
        self._load_latency = count(":tensorflow:cc:saved_model:load_latency", "model_path")
        batching = ":tensorflow:serving:batching_session:"
        self._queuing = histogram(f"{batching}queuing_latency", _QUEUING, "thread_pool_name")
        self._runs = count(f"{batching}wrapped_run_count")
        # TF Serving keeps percentiles of these three, which its Prometheus page leaves out; here they are histograms.
        self._input_size = histogram(f"{batching}input_batch_size", _SIZES)
        self._processed_size = histogram(f"{batching}processed_batch_size", _SIZES)
        self._padding = histogram(f"{batching}padding_size", _SIZES, "execution_batch_size")

    def request(self, model: str, api: str, entrypoint: str, code: str, seconds: float) -> None:
        """Count a request: api is Predict, Classify ..., entrypoint GRPC or REST, code the status' name (OK, ...).

        Names that no model ever had are counted together under the empty one: callers must not be able to fill the
        server's memory with series. As in TF Serving the latency covers only successful requests.
        """
        if model not in self._models:
            model = ""
        with self._lock:
            self._requests.add((model, code), 1)
            if code == "OK":
                self._latency.add((model, api, entrypoint), seconds * 1e6)

    def runtime(self, model: str, api: str, seconds: float) -> None:
        """Count the time an answered request spent in the graph, waiting for a batch included."""
        with self._lock:
            self._runtime.add((model, api, "TF1"), seconds * 1e6)

    def batch(self, model: str, rows: Sequence[int], executed: int, waited: Sequence[float]) -> None:
        """Count a batch that ran: the rows of each call in it, the rows executed with padding, each call's wait."""
        with self._lock:
            self._runs.add((), 1)
            for size in rows:
                self._input_size.add((), size)
            for seconds in waited:
                self._queuing.add((model,), seconds * 1e6)
            self._processed_size.add((), executed)
            self._padding.add((str(executed),), executed - sum(rows))

    def load(self, model: str, folder: Path | str, succeeded: bool, seconds: float) -> None:
        """Count an attempt to load a version; from then on the model's requests are counted under its name."""
        with self._lock:
            self._models.add(model)
            self._loads.add((str(folder), "success" if succeeded else "fail"), 1)
            if succeeded:
                self._load_latency.add((str(folder),), int(seconds * 1e6))

    def warmup(self, folder: Path | str, code: str, seconds: float) -> None:
        """Count a version's warm-up; code is the name of the status it ended in."""
        with self._lock:
            self._warmup.add((str(folder), code), seconds * 1e6)

    def text(self) -> str:
        """Return all metrics in Prometheus' text format, ordered by name as in TF Serving."""
        families = sorted((v for v in vars(self).values() if isinstance(v, _Family)), key=lambda family: family.name)
        with self._lock:
            return "".join(f"{line}\n" for family in families for line in family.lines())


class _Family(ABC):
    """All series of one name; `_cells` has them by label values."""

    def __init__(self, name: str, *labels: str) -> None:
        self.name, self._labels = name, labels

    @abstractmethod
    def lines(self) -> list[str]:
        """Return its lines of the text."""

    def named(self, values: tuple[str, ...]) -> str:
        """Return the labels as written between braces."""
        pairs = zip(self._labels, values, strict=True)
        return ",".join(f'{label}="{value.translate(_REPLACED)}"' for label, value in pairs)


class _Counter(_Family):
    def __init__(self, name: str, *labels: str) -> None:
        super().__init__(name, *labels)
        self._cells: dict[tuple[str, ...], int] = {}

    def add(self, values: tuple[str, ...], amount: int) -> None:
        self._cells[values] = self._cells.get(values, 0) + amount

    def lines(self) -> list[str]:
        series = (f"{self.name}{{{self.named(values)}}} {count}" for values, count in self._cells.items())
        return [f"# TYPE {self.name} counter", *series]


class _Histogram(_Family):
    def __init__(self, name: str, limits: list[float], *labels: str) -> None:
        super().__init__(name, *labels)
        self._limits = limits
        self._cells: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}

    def add(self, values: tuple[str, ...], amount: float) -> None:
        cell = self._cells.get(values)
        if cell is None:
            cell = self._cells[values] = ([0] * (len(self._limits) + 1), [0.0])
        cell[0][bisect_left(self._limits, amount)] += 1
        cell[1][0] += amount

    def lines(self) -> list[str]:
        lines = [f"# TYPE {self.name} histogram"]
        limits = [*(f"{limit:g}" for limit in self._limits), "+Inf"]
        for values, (counts, (total,)) in self._cells.items():
            labels = self.named(values)
            before = f"{labels}," if labels else ""
            cumulated = list(accumulate(counts))
            pairs = zip(limits, cumulated, strict=True)
            lines += [f'{self.name}_bucket{{{before}le="{limit}"}} {count}' for limit, count in pairs]
            lines += [f"{self.name}_sum{{{labels}}} {total:.6g}", f"{self.name}_count{{{labels}}} {cumulated[-1]}"]
        return lines


def _exponential(scale: float, growth: float, count: int) -> list[float]:
    return [scale * growth**power for power in range(count)]


_LATENCY = _exponential(10, 1.8, 33)  # microseconds, up to 25 minutes
_QUEUING = _exponential(100, 1.2, 52)  # microseconds, up to 1.1 seconds
_SIZES = _exponential(1, 2, 15)  # rows


def read_monitoring_config(file: Path) -> str | None:
    """Return the path metrics are served at, or None when they are off.

    The file holds a MonitoringConfig in text form: `prometheus_config { enable: true path: "/monitoring/..." }`.
    Raises TextProtoError when it does not.
    """
    fields = {"prometheus_config": {"enable": "bool", "path": "string"}}
    config = textproto.read(file, "MonitoringConfig", fields).prometheus_config
    if config.path and not config.path.startswith("/"):
        raise textproto.TextProtoError(f"{file}: the path is {config.path!r}, wanted one that begins with /")
    return (config.path or PATH) if config.enable else None
