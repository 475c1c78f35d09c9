"""Models whose answers one can do in one's head, and a client of an application that serves them."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gateway_kit import unused_address
from toy_model_server import Model, ModelServer, signature

from tensor_rest.app import create_app
from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.settings import Settings


def half_plus_two() -> Model:
    """y = x / 2 + 2."""
    tensors = signature({"x": (pb.DT_FLOAT, [-1])}, {"y": (pb.DT_FLOAT, [-1])})
    return Model(card=None, signatures={"serving_default": tensors}, compute=lambda given: {"y": given["x"] / 2 + 2})


def sums_and_echo() -> Model:
    """s = the sum of a's two whole numbers, t_bytes = b; and a signature `sum` with s alone, shape [2] -> []."""
    both = signature(
        {"a": (pb.DT_INT32, [-1, 2]), "b": (pb.DT_STRING, [-1])},
        {"s": (pb.DT_INT32, [-1]), "t_bytes": (pb.DT_STRING, [-1])},
    )
    alone = signature({"a": (pb.DT_UINT8, [2])}, {"s": (pb.DT_INT32, [])})

    def compute(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sums = {"s": given["a"].sum(axis=-1, dtype=np.int32)}
        return sums | ({"t_bytes": given["b"]} if "b" in given else {})

    return Model(card=None, signatures={"serving_default": both, "sum": alone}, compute=compute)


def every_type() -> Model:
    """Echoes tensors of every type of numbers, truths and texts; its only signature is `other`."""
    kinds = [pb.DT_FLOAT, pb.DT_DOUBLE, pb.DT_HALF, pb.DT_INT8, pb.DT_INT16, pb.DT_INT64, pb.DT_UINT16, pb.DT_UINT64]
    tensors = {f"i{kind}": (kind, [-1, 2]) for kind in [*kinds, pb.DT_BOOL, pb.DT_STRING]}
    echo = signature(tensors, tensors)
    return Model(card=None, signatures={"other": echo}, compute=lambda given: given)


def everything() -> dict[str, Model]:
    """Images with a card (labelled `stable`) and without, one input, several inputs."""
    return {
        "mnist_net": Model(labels={"stable": 1}, strict=True),
        "bare_net": Model(card=None, strict=True),
        "half_net": replace(half_plus_two(), strict=True),
        "sums_net": replace(sums_and_echo(), strict=True),
    }


def client_of(server: ModelServer, run_dir: Path, **settings: Any) -> Any:
    """A client of an application in front of `server`."""
    defaults = {"server": server.address, "inventory_url": unused_address(), "timeout_seconds": 30}
    return create_app(Settings(run_dir=run_dir, **{**defaults, **settings})).test_client()


def files(*named: tuple[str, bytes], field: str = "image") -> dict[str, Any]:
    """A form of several files under one name."""
    return {field: [(io.BytesIO(data), name) for name, data in named]}
