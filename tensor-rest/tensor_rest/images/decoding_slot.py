"""One slot per worker for the decoding of large images: each takes 100 MB and more."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tensor_rest.errors import UnavailableError
from tensor_rest.observability import metrics

_LARGE = 1 << 20  # pixels; larger images are decoded one at a time
_SLOT_TIMEOUT_S = 5.0  # seconds such an image waits for the slot

_large_image = threading.Lock()


@contextmanager
def decoding_slot(pixels: int) -> Iterator[None]:
    """Hold the slot while a large image of `pixels` is decoded; a small one needs no slot.

    Raises UnavailableError if the slot is not free in time.
    """
    if pixels <= _LARGE:
        yield
        return
    if not _large_image.acquire(timeout=_SLOT_TIMEOUT_S):
        metrics.refused("busy")
        raise UnavailableError("The gateway is busy with other large images; a smaller one is taken at once.")
    try:
        yield
    finally:
        _large_image.release()
