"""CPU and memory counts come from the control group, and the gateway's defaults stay within their own bounds."""

import os
from pathlib import Path

import pytest

from tensor_rest import resources
from tensor_rest.settings import Settings

MACHINE = 1 << 40  # bytes


def machine(root: Path, cgroup: str, **files: str) -> Path:
    """A folder with /proc/self/cgroup and files below /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "cpus", "memory"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n", "memory.max": "536870912\n"}, 1.5, 512 << 20),
        ("0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n"}, 200, MACHINE),
        (
            "0::/lab.slice/rest\n",
            {"lab.slice/cpu.max": "400000 100000", "lab.slice/rest/cpu.max": "max 100000", "lab.slice/memory.max": "1"},
            4,
            1,
        ),
        (
            "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1\n",
            {
                "cpu/cpu.cfs_quota_us": "50000\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/docker/1/memory.limit_in_bytes": "1073741824\n",
            },
            0.5,
            1 << 30,
        ),
        ("2:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 200, MACHINE),
        ("0::/\n", {"cpu.max": "", "memory.max": "much"}, 200, MACHINE),
    ],
    ids=["v2", "v2 without limits", "v2 of a parent", "v1", "v1 without limits", "unreadable"],
)
def test_limits_of_control_groups_are_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cgroup: str,
    files: dict[str, str],
    cpus: float,
    memory: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(200)))
    monkeypatch.setattr(os, "sysconf", lambda _: 1 << 20)  # bytes of a page, and pages
    root = machine(tmp_path, cgroup, **files)
    assert resources.cpus(root) == cpus
    assert resources.memory_bytes(root) == memory


@pytest.mark.parametrize(
    ("cpus", "memory", "processes"),
    [(0.5, 1 << 40, 1), (2, 1 << 40, 1), (8, 1 << 40, 4), (130, 1 << 40, 16), (48, 512 << 20, 3), (200, 1 << 20, 1)],
)
def test_default_processes_fit_cpus_and_memory(
    monkeypatch: pytest.MonkeyPatch, cpus: float, memory: int, processes: int
) -> None:
    monkeypatch.setattr(resources, "cpus", lambda: cpus)
    monkeypatch.setattr(resources, "memory_bytes", lambda: memory)
    assert Settings().processes == processes


def test_default_processes_leave_the_memory_that_is_set_for_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "cpus", lambda: 48)
    monkeypatch.setattr(resources, "memory_bytes", lambda: 1 << 30)
    assert Settings(body_memory_bytes=700 << 20).processes == 3
