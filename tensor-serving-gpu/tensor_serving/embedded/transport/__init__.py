"""gRPC over plain HTTP/2 on the event loop, without threads: what gRPC's own server does at several times the price.

    frames          HTTP/2 as bytes (RFC 9113)
    fields          header blocks (RFC 7541)
    message         a message of a call as its pieces come in: bounds, compression
    limits          what a client can do to the others, and the bound on each
    call            one call: what its handler sees of it, and how it ends
    connection      one client on the event loop;
    incoming        reading its frames,
    calls           what of its calls runs,
    answers         and what is sent to it
    server          the ports, and what all connections share

It takes the handlers a `grpc.aio` server takes. TLS is left to that one (see `server`).
"""

from tensor_serving.embedded.transport.server import Server

__all__ = ["Server"]
