"""The client of the model server: TensorFlow Serving's gRPC calls, bounded in time, repeated and batched.

`client.py` is the door. Behind it `batching.py` lets callers share calls, `rows.py` knows which may, `calls.py` makes
one call, `gate.py` decides what happens while serving is away, `channel.py` is the connection, `caller.py` says for
whom a thread works.
"""

from .batching import Prediction
from .client import Limits, ModelServer, VersionState

__all__ = ["Limits", "ModelServer", "Prediction", "VersionState"]
