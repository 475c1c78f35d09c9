"""Machines of other sizes: processor counts that are staged, and control groups with quotas."""

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.chaos.processes import pss, threads, tree
from tests.chaos.scene import Scene, SkippedError
from tests.running import ROOT, free_ports, wait_until

_CGROUPS = Path("/sys/fs/cgroup")
_PERIOD = 100_000  # microseconds
_MEMORY = 1024  # MiB for the gateway, the default limit of its container
_PIDS = 512  # threads; a container's limit, which counts them, is 4096

# What Python code sees of the machine; TensorFlow's own threads see the real one.
_COUNTS = """
import os

os.cpu_count = lambda: {cpus}
os.sched_getaffinity = lambda pid: set(range({cpus}))
"""


def cpus(scene: Scene) -> bool:
    """Gateway and model server on each machine: they start, answer, and stay within _MEMORY and _PIDS."""
    met = True
    for count in (1, 2, 48, 130, 256) if scene.long else (1, 130):
        met = _starts(scene, f"{count}_cpus", (), staged_cpus(scene.folder, count)) and met
    return met


def staged_cpus(parent: Path, count: int) -> str:
    """Return the PYTHONPATH, a folder made below `parent`, with which Python programs see so many processors."""
    folder = parent / f"cpus-{count}"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_COUNTS.format(cpus=count))
    return str(folder)


def quotas(scene: Scene) -> bool:
    """A quota of processor time, and the memory limit, by a control group."""
    met = True
    for share in (0.5, 1, 2) if scene.long else (1,):
        with _group(share) as inside:
            met = _starts(scene, f"{share:g}_cpus_512_mb", inside, "") and met
    return met


def _starts(scene: Scene, name: str, inside: tuple[str, ...], path: str) -> bool:
    port, rest_port = free_ports(2)
    config = scene.folder / "models.config"
    shipped = ROOT / "tensor-serving-gpu" / "serving" / "mnist-net"
    config.write_text(
        f'model_config_list {{ config {{ name: "mnist-net" base_path: "{shipped}" model_platform: "tensorflow" }} }}\n'
    )
    flags = (
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        f"--model_config_file={config}",
        "--enable_batching=true",
    )
    server = scene.program("tensor_serving", "serve", *flags, PYTHONPATH=path)
    address, nowhere = f"127.0.0.1:{port}", f"http://127.0.0.1:{free_ports(1)[0]}/"
    gateway = scene.gateway(address, nowhere, inside, PYTHONPATH=path)
    try:
        gateway.wait(seconds=90)
        call = gateway.client()
        wait_until(lambda: call() == "200", 60, "an answer")
        with scene.load(20, gateway.client()) as load:
            scene.pause(5 if scene.long else 2)
        pids, serving = tree(gateway.program.process.pid), tree(server.process.pid)
        figures = scene.note_load(load.summary(), name)
        memory, tasks = pss(pids), max(threads(pids), threads(serving))
        scene.note(**{f"{name}_gateway_processes": len(pids), f"{name}_gateway_mib": memory, f"{name}_threads": tasks})
        return not figures.failed and memory <= _MEMORY and tasks <= _PIDS
    except AssertionError as error:
        last = str(error).strip().splitlines()[-1]
        scene.note(**{f"{name}_does_not_start": last[:160]})
        return False
    finally:
        gateway.program.kill()
        server.kill()


@contextmanager
def _group(share: float) -> Iterator[tuple[str, ...]]:
    """A control group with this share of the processors and the memory limit; yields the command that runs inside."""
    name = f"chaos-{uuid.uuid4().hex[:8]}"
    quota = int(share * _PERIOD)
    if (_CGROUPS / "cgroup.controllers").exists():
        settings = {_CGROUPS / name: {"cpu.max": f"{quota} {_PERIOD}", "memory.max": f"{_MEMORY << 20}"}}
    else:
        settings = {
            _CGROUPS / "cpu" / name: {"cpu.cfs_period_us": f"{_PERIOD}", "cpu.cfs_quota_us": f"{quota}"},
            _CGROUPS / "memory" / name: {"memory.limit_in_bytes": f"{_MEMORY << 20}"},
        }
    try:
        for folder, values in settings.items():
            folder.mkdir()
            for file, value in values.items():
                (folder / file).write_text(value)
        joined = "".join(f"echo $$ > {folder}/cgroup.procs; " for folder in settings)
        yield ("sh", "-c", f'{joined}exec "$@"', "sh")
    except OSError as error:
        raise SkippedError(f"no control group can be made ({error.strerror}: {error.filename})") from None
    finally:
        for folder in settings:
            with contextlib.suppress(OSError):
                wait_until(partial(_removed, folder), 10, f"{folder} to be empty")


def _removed(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()
