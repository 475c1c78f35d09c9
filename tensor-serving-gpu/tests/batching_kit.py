"""Calls for a batcher, and several of them at once."""

import asyncio
from typing import Any

import numpy as np

from tensor_serving.embedded.batching import BatchedModel
from tensor_serving.embedded.call import Call


def call(*rows: float, fetches: tuple[str, ...] = ("y:0",)) -> Call:
    return Call("serving_default", ("x:0",), (np.array(rows, np.float32),), fetches)


async def several(model: BatchedModel, *calls: Call) -> list[Any]:
    """Start the calls in this order, and return their futures."""
    futures = [asyncio.ensure_future(model.run(one, len(one.values[0]))) for one in calls]
    await asyncio.sleep(0)  # each has gone as far as the queue
    return futures
