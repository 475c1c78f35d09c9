"""gRPC over plain HTTP/2: hostile or broken peers, and sockets left behind."""

import asyncio
import logging
import random
import socket
from pathlib import Path

import grpc
import pytest
from transport_kit import GREETING, Place, headers, message, place, scene

from tensor_serving.embedded.transport import frames


def test_a_client_that_reads_no_acknowledgements_is_cut_off() -> None:
    async def play(here: Place) -> None:
        with socket.create_connection(("127.0.0.1", here.port)) as deaf:
            deaf.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(deaf, GREETING)
            pings = frames.frame(frames.PING, 0, 0, bytes(8)) * 10_000
            with pytest.raises(ConnectionError):
                await _poured(deaf, pings)

    scene(play)


async def _poured(into: socket.socket, data: bytes) -> None:
    for _ in range(2000):
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(into, data), 30)


def test_a_deserted_socket_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "grpc.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    async def play() -> None:
        async with place(path=path), grpc.aio.insecure_channel(f"unix:{path}") as channel:
            assert await channel.unary_unary("/t/echo")(b"a", timeout=30) == b"a"
            with pytest.raises(OSError, match="in use"):
                async with place(path=path):
                    pass
        (tmp_path / "file").write_text("mine")
        with pytest.raises(OSError, match="in use"):
            async with place(path=tmp_path / "file"):
                pass

    asyncio.run(play())
    assert (tmp_path / "file").read_text() == "mine"


def test_bytes_that_are_nearly_right_never_end_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """Seeded: frames of good calls with bytes changed, cut out and doubled."""
    rng = random.Random(2026)
    good = [headers(), message(b"a" * 50), headers("large", 3), message(b"", 3), headers("count", 5)]
    good += [message(b"\x03", 5), frames.settings((4, 70_000)), frames.window_update(0, 9), frames.reset(3, 8)]
    good += [frames.frame(frames.PING, 0, 0, bytes(8)), frames.frame(frames.PRIORITY, 0, 1, bytes(5))]

    async def play(here: Place) -> None:
        for _ in range(400):
            sent = bytearray(b"".join(rng.choices(good, k=rng.randrange(1, 9))))
            for _ in range(rng.randrange(4)):
                at = rng.randrange(len(sent))
                sent[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
                sent = sent or bytearray(b"\0")
            wire = await here.wire(GREETING + bytes(sent))
            await wire.drained()
            wire.close()

    with caplog.at_level(logging.WARNING):
        scene(play)
    assert caplog.records == []
