"""How many CPUs and how much memory this process may use: the machine's, or less if its control groups limit them.

Reads versions 1 and 2 of control groups, https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/. A limit
applies to all groups below, so the process's own group and its parents are read.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/")
_MAX_WORKERS = 16  # by default
_BASE_BYTES, _WORKER_BYTES = 128 << 20, 64 << 20  # nginx and uWSGI's master; one worker (25 MB not shared when idle)


def cpus(root: Path = _ROOT) -> float:
    """Return the CPUs this process may run on, at most its quota (0.5: half of one). `root` holds /proc and /sys."""
    try:
        found = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # not Linux
        found = float(os.cpu_count() or 1)
    for folder in _groups(root, "cpu"):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (folder / "cpu.max").read_text().split()
            found = min(found, int(quota) / int(period))  # ValueError for "max", which means unlimited
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0:  # -1: no limit
                found = min(found, int(quota) / int(period))
    return found


def memory_bytes(root: Path = _ROOT) -> int:
    """Return the machine's memory in bytes, or the limit if that is lower. `root` as in `cpus`."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):
                found = min(found, int((folder / name).read_text()))
    return found


def workers(bodies: int) -> int:
    """Return how many workers to start: one per two CPUs, from 1 to 16, as far as memory allows.

    `bodies` are the bytes of memory that are reserved for request bodies.
    """
    fitting = (memory_bytes() - _BASE_BYTES - bodies) // _WORKER_BYTES
    return max(1, min(int(cpus()) // 2, fitting, _MAX_WORKERS))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's groups for a controller, its own first. A folder may not exist.

    In a container the process's own group is often mounted as the top folder.
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
