"""Runs a model as the embedded server does; what the programs beside it share, and no program of its own."""

import threading
from pathlib import Path

import numpy as np

from tensor_serving.embedded.call import Call
from tensor_serving.embedded.runtime import Model


def megabytes() -> float:
    """Return the memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def once(folder: Path) -> float:
    """Load the model, call it from four threads and close it; return the megabytes held before it was closed."""
    model = Model(folder)
    signature = model.signatures["serving_default"]
    (feed,), fetches = (i.name for i in signature.inputs.values()), tuple(i.name for i in signature.outputs.values())
    call = Call("serving_default", (feed,), (np.zeros((8, 1000), np.float32),), fetches)
    threads = [threading.Thread(target=model.run, args=(call,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    before = megabytes()
    model.close()
    return before
