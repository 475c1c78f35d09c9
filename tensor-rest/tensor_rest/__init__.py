"""The gateway: pictures in over REST, answers out, TensorFlow Serving behind it over gRPC. No TensorFlow inside."""

__version__ = "0.1.0"
