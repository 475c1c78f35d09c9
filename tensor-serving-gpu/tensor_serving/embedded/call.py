"""One run of a loaded graph: what a request comes down to once its names and tensors have been checked."""

from dataclasses import dataclass

from tensor_serving.embedded.tensors import Array


@dataclass(slots=True)
class Call:
    """Feed these tensors, fetch those. Both in sorted order, so that requests that mean the same look the same."""

    signature: str
    """The signature's key, for metrics and messages."""
    feeds: tuple[str, ...]
    """Tensor names to feed, sorted."""
    values: tuple[Array, ...]
    """One array per feed; strings as object arrays of bytes."""
    fetches: tuple[str, ...]
    """Tensor names to fetch, sorted, each once."""
    request_id: str = ""
    """The client's name for its request; empty where there is none, and for a part or a batch of requests."""
