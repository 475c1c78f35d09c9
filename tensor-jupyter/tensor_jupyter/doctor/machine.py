"""Space on the disks, memory for a training, and whether TensorFlow could see a GPU. TensorFlow is not imported."""

import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from tensor_jupyter.doctor.discovery import is_there
from tensor_jupyter.doctor.finding import Finding, ok, problem, warning
from tensor_jupyter.settings import Settings

GIB = 2**30
_DISK_NEEDED, _DISK_WANTED = GIB // 4, 2 * GIB  # a training writes about 30 MiB; its data takes up to 1 GiB
_MEMORY_NEEDED, _MEMORY_WANTED = GIB, 2 * GIB  # measured: 1.0 GiB for 60,000 images; twice that leaves a margin
_CGROUPS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


def disks(settings: Settings) -> list[Finding]:
    """Free space, once for each disk that the lab's folders are on."""
    by_disk: dict[int, list[str]] = {}
    free: dict[int, int] = {}
    for name in ("models", "logs", "data", "feedback"):
        folder = getattr(settings, name).absolute()
        there = next(path for path in (folder, *folder.parents) if is_there(path))
        disk = there.stat().st_dev
        by_disk.setdefault(disk, []).append(name)
        free[disk] = shutil.disk_usage(there).free
    return [_free_space("disk", f"for {', '.join(names)}", free[disk]) for disk, names in by_disk.items()]


def memory() -> list[Finding]:
    """Memory that is free for a training: of the machine, or of the container if that has less."""
    free = _of_machine()
    bounded = [bytes_ for bytes_ in map(_of_cgroup, _CGROUPS) if bytes_ is not None]
    if free is None:
        return [ok("memory", "cannot be seen on this system")]
    least = min([free, *bounded])
    found = f"{least / GIB:.1f} GiB free{' in this container' if least < free else ''}"
    wanted = f"{_MEMORY_WANTED / GIB:g} GiB; training on MNIST takes 1"
    fix = "free -m; ps aux --sort=-rss | head"
    if least < _MEMORY_NEEDED:
        return [problem("memory", found, wanted, fix)]
    return [warning("memory", found, wanted, fix) if least < _MEMORY_WANTED else ok("memory", found)]


def gpu(devices: Path = Path("/dev")) -> list[Finding]:
    """Device nodes, what the driver reports, and whether the TensorFlow installed here was built for them."""
    nodes = sorted(devices.glob("nvidia[0-9]*"))
    if not nodes:
        return [ok("GPU", "none here: TensorFlow computes on the processor")]
    named = _driver()
    if not named:
        return [warning("GPU", f"{nodes[0]} is there, but nvidia-smi lists none", "a driver that works", "nvidia-smi")]
    if _has("tensorflow-cpu"):  # built without CUDA
        return [ok("GPU", f"{named}; for the model server, by `bin/compose.sh up --gpu`; training uses the processor")]
    return [ok("GPU", f"{named}, which TensorFlow may use")]


def _free_space(check: str, what: str, free: int) -> Finding:
    found = f"{free / GIB:.1f} GiB free {what}"
    fix = "bin/lab models; bin/lab models delete MODEL VERSION"
    if free < _DISK_NEEDED:
        return problem(check, found, f"{_DISK_NEEDED / GIB:g} GiB at the least", fix)
    return warning(check, found, f"{_DISK_WANTED / GIB:g} GiB", fix) if free < _DISK_WANTED else ok(check, found)


def _of_machine() -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, LookupError, ValueError):
        return None


def _of_cgroup(names: tuple[str, str], root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes left of the container's limit; None if it has none ("max", which is not a number)."""
    try:
        bound, used = (int((root / name).read_text()) for name in names)
    except (OSError, ValueError):
        return None
    return max(0, bound - used)


def _driver() -> str:
    """The first GPU's name and memory, as nvidia-smi reports them, "" if unknown."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else ""


def _has(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
