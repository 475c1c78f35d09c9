"""One run of a loaded graph: a request after its names and tensors have been checked."""

from dataclasses import dataclass

from tensor_serving.embedded.tensors import Array


@dataclass(slots=True)
class Call:
    """The tensors to feed and to fetch, both sorted, so that equivalent requests are equal."""

    signature: str
    """The signature's key, for metrics and messages."""
    feeds: tuple[str, ...]
    """Tensor names to feed, sorted."""
    values: tuple[Array, ...]
    """One array per feed; strings as object arrays of bytes."""
    fetches: tuple[str, ...]
    """Tensor names to fetch, sorted, each once."""
    request_id: str = ""
    """The client's id of its request; empty if it sent none, and for a part or a batch of requests."""
