"""The server the case tables call: the embedded server, started on the case models, or a running one that was named."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving_kit import Command


@dataclass(frozen=True)
class CaseServer:
    """Addresses as host:port; None for an API that cannot be called. `embedded` is the process, if it is ours."""

    grpc: str | None
    rest: str | None
    embedded: Command | None = None


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(folder: Path, config: Path, *flags: str) -> Iterator[CaseServer]:
    """Serve this config in a process with both APIs, all versions loaded; its log goes to the folder."""
    rest = free_port()
    ports = ("--port=0", f"--rest_api_port={rest}")
    command = Command(folder / "serve.log", "serve", *ports, f"--model_config_file={config}", *flags)
    with command:
        port = int(command.said(r"serving on 127.0.0.1:(\d+)")[1])
        for base in map(Path, re.findall(r'base_path: "(.*?)"', config.read_text())):
            for version in filter(Path.is_dir, base.iterdir()):
                command.said(rf"{base.name} version {version.name}: available")
        yield CaseServer(f"127.0.0.1:{port}", f"127.0.0.1:{rest}", command)
