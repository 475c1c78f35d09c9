"""TensorBoard's starter, without a lab."""

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_tensorboard_ends_when_its_default_port_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # another program has it
            taken.bind(("127.0.0.1", 6006))
            taken.listen()
        command = [sys.executable, str(ROOT / "tensor-board" / "serve.py"), "--logdir", str(tmp_path)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "port 6006" in ended.stderr
