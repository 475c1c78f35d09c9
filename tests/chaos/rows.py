"""The faults in the order of docs/reliability.md: what is staged, the criterion, and the function that plays it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos import crashes, disks, floods, gateway, limits, network, programs, restarts, soak, uploads
from tests.chaos.scene import Scene


@dataclass(frozen=True)
class Row:
    """One line of the table. namespaces: flags of unshare(1) that it takes; they take root."""

    name: str
    staged: str
    criterion: str
    play: Callable[[Scene], bool]
    namespaces: tuple[str, ...] = ()


_MOUNTS = ("--mount",)
_NETWORK = ("--mount", "--net")
_ALL = (
    Row("restarts", "5 restarts of the model server in 75 s at 100 requests/s", "0 failed", restarts.embedded),
    Row(
        "restarts-tfs",
        "the same with a stand-in that starts and stops as TensorFlow Serving does",
        "0 failed",
        restarts.as_tensorflow_serving,
    ),
    Row(
        "crash-load",
        "a version that aborts, segfaults or exhausts memory in warm-up",
        "others answer within 5 s, quarantined with a reason, out after a restart, forgotten when deleted",
        crashes.in_load,
    ),
    Row(
        "crash-request",
        "requests that abort the server",
        "at most one crash per request, 0 of the others' calls failed",
        crashes.in_request,
    ),
    Row(
        "kill-worker",
        "kill -9 of a gateway worker at 60/s, x 10",
        "lost <= in flight in that worker, 0 in the second after",
        gateway.kill_worker,
    ),
    Row(
        "drain",
        "TERM of the gateway at 60/s with a second one beside it; and alone, idle",
        "0 failed; exit 0 within 1 s, no traceback",
        gateway.drain,
    ),
    Row(
        "full-disk",
        "models, logs, feedback and state disk full, each and all",
        "predictions 100 %, what cannot be written 507 with the folder's name, recovery without a restart",
        disks.full,
        _MOUNTS,
    ),
    Row(
        "uploads",
        "256 stalled or parallel 10 MiB uploads",
        "gateway within 512 MiB, 95 % of small requests beside them answered, their p99 <= 2 x",
        uploads.play,
    ),
    Row(
        "floods",
        "HTTP/2 floods, unread answers and idle connections at the embedded server",
        "p99 of another client <= 100 ms, memory within 64 MB of before, offender cut off with ENHANCE_YOUR_CALM",
        floods.embedded,
    ),
    Row(
        "hostile-server",
        "a model server that answers with informational headers without end",
        "the gateway's memory within 64 MB of before, its other answers within 1 s",
        floods.hostile_server,
    ),
    Row(
        "h2spec",
        "HTTP/2 conformance of the embedded server",
        "0 failures but for those listed with a reason",
        floods.h2spec,
    ),
    Row("cpus", "1, 2, 48, 130, 256 CPUs (staged)", "starts, answers, gateway within 1 GiB, 512 threads", limits.cpus),
    Row(
        "quotas",
        "control groups with 0.5, 1 and 2 CPUs and 512 MB",
        "starts, answers, stays within its limits",
        limits.quotas,
    ),
    Row("clock-jump", "the wall clock jumps an hour on and an hour back", "0 failed", network.clock),
    Row(
        "dns-failure",
        "the model server's name does not resolve for 30 s, while it is restarted",
        "answers or 503/504 within 16 s (their deadline is 15), recovery by itself within 15 s",
        network.dns,
        _NETWORK,
    ),
    Row(
        "network-drop",
        "packets to the model server vanish for 30 s",
        "answers or 503/504 within 16 s (their deadline is 15), recovery by itself within 15 s",
        network.drop,
        _NETWORK,
    ),
    Row(
        "read-only",
        "models, logs and feedback read-only for a while",
        "predictions 100 %, feedback refused clearly, recovery by itself",
        disks.read_only,
        _MOUNTS,
    ),
    Row(
        "soak",
        "30 min at half of max (at most 400/s), mixed traffic with aborts",
        "0 errors, RSS slope <= 1 MB/10 min, open files flat",
        soak.play,
    ),
    Row("programs", "every program: KILL and STOP", "working again by itself within 30 s", programs.play),
)
ROWS = {row.name: row for row in _ALL}
