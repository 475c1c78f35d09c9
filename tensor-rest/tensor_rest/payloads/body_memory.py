"""The memory for the large bodies of all requests of a process, and for what gzip bodies and zips unpack to.

Each request has a reservation. The middleware reserves for the body, the readers of zips for the rest, before they
unpack anything; all of it is released when the request is answered.
"""

import threading

from tensor_rest.errors import UnavailableError
from tensor_rest.observability import metrics
from tensor_rest.runtime import request_context

LARGE = 100_000
"""Bytes from which a body is large: nginx passes it on without buffering it. nginx.conf counts the digits."""

ENVIRON = "tensor_rest.body_memory"
"""Key in the WSGI environment: the request's reservation."""

_FACTOR = 3  # memory that a body takes, in multiples of its size: the body, its parts, and files made of them
_TIMEOUT_S = 5.0  # seconds a request waits for memory


class BodyMemory:
    """`memory` bytes for all bodies together. One per process."""

    def __init__(self, memory: int) -> None:
        self.limit = memory
        self.used = 0
        self.changed = threading.Condition()


class Reservation:
    """What one request has reserved. The first request always gets what it needs."""

    __slots__ = ("_memory", "size")

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self.size = 0

    def add(self, body: int) -> None:
        """Reserve memory for a body of so many bytes; a small one needs none.

        Raises UnavailableError if there is none in time.
        """
        if body < LARGE:
            return
        memory, size = self._memory, _FACTOR * body

        def fits() -> bool:
            return memory.used == self.size or memory.used + size <= memory.limit

        with memory.changed:
            if not memory.changed.wait_for(fits, _TIMEOUT_S):
                metrics.refused("busy")
                raise UnavailableError("The gateway is busy with other large requests; smaller ones are accepted.")
            memory.used += size
            self.size += size

    def shrink(self, body: int = 0) -> None:
        """Release what exceeds the memory for a body of so many bytes."""
        freed = self.size - _FACTOR * body
        if freed > 0:
            with self._memory.changed:
                self._memory.used -= freed
                self.size -= freed
                self._memory.changed.notify_all()


def reserve(packed: int, unpacked: int) -> None:
    """Reserve memory for files that unpack to more bytes than they are packed: those are reserved with the body.

    Raises UnavailableError if there is none in time. Outside of requests nothing is reserved.
    """
    reservation: Reservation | None = request_context.current().environ.get(ENVIRON)
    if reservation is not None:
        reservation.add(unpacked - packed)
