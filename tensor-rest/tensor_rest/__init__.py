"""The gateway: a REST API in front of TensorFlow Serving, which it calls over gRPC. It does not use TensorFlow."""

__version__ = "0.1.0"
