"""What a connection took is freed when it ends."""

import asyncio
import gc

import pytest
from transport_kit import Place, headers, message, scene, until

from tensor_serving.embedded.transport.calls import Calls


@pytest.mark.parametrize("method", ["echo", "wait", ""])
def test_a_connection_that_ended_is_freed_without_the_collector(method: str) -> None:
    """Else a server that is only looked at every second grows by 100 MB a day, or until the collector comes by."""

    def alive() -> int:
        return sum(isinstance(each, Calls) for each in gc.get_objects())

    async def play(here: Place) -> None:
        gc.collect()
        gc.disable()
        try:
            before = alive()
            for _ in range(5):
                wire = await here.wire()
                if method:
                    wire.send(headers(method), message(b"x"))
                    await (asyncio.sleep(0.02) if method == "wait" else wire.answer())
                wire.close()
            await until(lambda: alive() == before)
        finally:
            gc.enable()

    scene(play)
