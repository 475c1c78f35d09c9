"""How many CPUs and how much memory this process may use: the machine's, or what its control groups leave of them.

Versions 1 and 2 of control groups, https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/. A limit holds
for all groups below, so the process's own group and those above it are read.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/")
_MAX_WORKERS = 16  # by default
_BASE_BYTES, _WORKER_BYTES = 128 << 20, 64 << 20  # nginx and the master; a worker, of which 25 MB are its own when idle


def cpus(root: Path = _ROOT) -> float:
    """CPUs, where half of one is 0.5: those it may run on, at most its quota. `root`: where /proc and /sys are."""
    try:
        found = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # not Linux
        found = float(os.cpu_count() or 1)
    for folder in _groups(root, "cpu"):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (folder / "cpu.max").read_text().split()
            found = min(found, int(quota) / int(period))  # ValueError for "max", which is no limit
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0:  # -1: no limit
                found = min(found, int(quota) / int(period))
    return found


def memory_bytes(root: Path = _ROOT) -> int:
    """Memory in bytes: the machine's, at most the limit. `root` as in `cpus`."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):
                found = min(found, int((folder / name).read_text()))
    return found


def workers(bodies: int) -> int:
    """Return one worker process for two CPUs, as many as fit into the memory beside so many bytes for bodies."""
    fitting = (memory_bytes() - _BASE_BYTES - bodies) // _WORKER_BYTES
    return max(1, min(int(cpus()) // 2, fitting, _MAX_WORKERS))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's groups for a controller, from its own up. Those that are not mounted are missing.

    In a container the folder of the own group is often mounted as if it were the topmost one.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = mounts / controller if controllers else mounts
        own = Path(path.lstrip("/"))
        for group in (own, *own.parents):
            yield top / group
