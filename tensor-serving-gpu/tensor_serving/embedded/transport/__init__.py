"""gRPC over plain HTTP/2 on the event loop, without threads: what gRPC's own server does at several times the price.

    frames          HTTP/2 as bytes (RFC 9113)
    fields          header blocks (RFC 7541)
    message         a message of a call as its pieces come in: bounds, compression
    call            one call: what its handler sees of it, and how it ends
    connection      the frames of one client,
    answers         and what is sent to it
    server          the ports, and what all connections share

It takes the handlers a `grpc.aio` server takes. TLS is left to that one (see `server`).
"""

from tensor_serving.embedded.transport.server import Server

__all__ = ["Server"]
