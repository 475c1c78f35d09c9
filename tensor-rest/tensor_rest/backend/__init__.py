"""The client of the model server: TensorFlow Serving's gRPC calls, bounded in time, repeated and batched.

`client.py` is what others use. It batches requests (`batching.py`) whose rows are independent (`rows.py`). `retry.py`
makes one call and repeats it where that is safe (`repeats.py`: one worker at a time); `circuit_breaker.py` decides
whether it may start. Below them `channel.py` keeps the connections, `addresses.py` resolves the target, `http2.py` with
`sending.py` is one connection, `answer.py` reads a response, `frames.py` encodes and decodes frames.
"""

from tensor_rest.backend.addresses import Address, Addresses
from tensor_rest.backend.batching import Prediction
from tensor_rest.backend.client import Limits, ModelServer, VersionState

__all__ = ["Address", "Addresses", "Limits", "ModelServer", "Prediction", "VersionState"]
