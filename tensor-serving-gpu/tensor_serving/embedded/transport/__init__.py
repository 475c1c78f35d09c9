"""gRPC over plain HTTP/2 on the event loop, without threads: what gRPC's own server does at several times the price.

It takes the handlers that a `grpc.aio` server takes. README.md has the parts, the sections of the RFCs that they
implement, and what is left out.
"""

from tensor_serving.embedded.transport.server import Server

__all__ = ["Server"]
