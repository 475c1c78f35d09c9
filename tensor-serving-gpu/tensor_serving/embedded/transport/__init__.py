"""gRPC over HTTP/2 without TLS, on the event loop and without threads; gRPC's own server costs several times as much.

It accepts the handlers of a `grpc.aio` server. README.md lists the parts, the sections of the RFCs that they implement,
and what is left out.
"""

from tensor_serving.embedded.transport.server import Server

__all__ = ["Server"]
