"""TensorFlow Serving's protobuf messages without TensorFlow: the gateway's own definitions, with its field numbers.

Must not know HTTP, models or settings.
"""
