"""The serving benchmark runs from end to end; its figures are not checked here."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from serving_kit import wait_until
from transport_kit import MAX_BYTES, place

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "serving.py"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="the benchmarks are not beside this folder")


def test_the_benchmark_measures_all_servers(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--no-thresholds", "--json", str(figures)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    assert "x straightforward" in run.stdout
    found = json.loads(figures.read_text())
    assert {rate["server"] for rate in found["rates"]} == {
        "straightforward",
        "embedded",
        "embedded, unbatched",
        "in process",
    }
    assert all(rate["answers"] > 0 for rate in found["rates"])
    assert len(found["thresholds"]) == 8


def test_the_benchmark_ends_its_servers_at_term() -> None:
    with subprocess.Popen([sys.executable, str(SCRIPT), "--quick"], stderr=subprocess.DEVNULL) as run:
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children")

        def server() -> Path | None:
            started = [Path(f"/proc/{pid}") for pid in children.read_text().split()]
            return next((each for each in started if b"tensor_serving\0serve" in (each / "cmdline").read_bytes()), None)

        found = wait_until(server, 120)
        run.terminate()
        assert run.wait(60) == 1
        assert not found.exists()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What connects the benchmark's client to a port, for calls of `echo`."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from rig.http2 import Connection

    async def connect(port: int) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection("localhost", "/t/echo"), "127.0.0.1", port)
        return connection

    return connect


def test_the_client_goes_on_after_a_call_that_the_server_reset(connect: Any) -> None:
    async def play() -> None:
        async with place() as here:
            connection = await connect(here.port)
            with pytest.raises(Exception, match="refused the call"):
                await asyncio.wait_for(connection(bytes(32 * MAX_BYTES)), 30)
            assert await asyncio.wait_for(connection(b"a"), 30) == b"a"
            connection.close()

    asyncio.run(play())


def test_goaway_fails_the_clients_calls(connect: Any) -> None:
    async def send_goaway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0\0\x08\7\0" + bytes(4) + bytes(8))
        await reader.read(-1)  # it does not close the connection
        writer.close()

    async def play() -> None:
        async with await asyncio.start_server(send_goaway, "127.0.0.1", 0) as server:
            connection = await connect(server.sockets[0].getsockname()[1])
            for _ in range(2):
                with pytest.raises(Exception, match="connection"):
                    await asyncio.wait_for(connection(b"a"), 30)

    asyncio.run(play())
