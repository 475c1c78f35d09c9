"""The client of the model server: TensorFlow Serving's gRPC calls, bounded in time, repeated and batched.

`client.py` is the door. Behind it `batching.py` lets callers share calls, `rows.py` knows which may, `calls.py` makes
one call, `gate.py` decides what happens while serving is away, `caller.py` says for whom a thread works. Below them
`channel.py` keeps the connections, `addresses.py` knows where to, `http2.py` with `sending.py` is one connection,
`answer.py` reads what comes back, `frames.py` has the bytes.
"""

from tensor_rest.backend.batching import Prediction
from tensor_rest.backend.client import Limits, ModelServer, VersionState

__all__ = ["Limits", "ModelServer", "Prediction", "VersionState"]
