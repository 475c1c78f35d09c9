"""A call's request message, received in pieces: bounded before it is stored and again while it is decompressed."""

import zlib

import grpc

from tensor_serving.embedded.errors import ServingError

PREFIX = 5  # bytes before a message: whether it is compressed, and its length

ENCODINGS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""The compressions that are accepted, with zlib's window bits."""


class Message:
    """The message of a call whose `grpc-encoding` is `encoding`; at most `largest` bytes."""

    __slots__ = ("_encoding", "_largest", "_parts")

    def __init__(self, encoding: str, largest: int) -> None:
        self._encoding, self._largest = encoding, largest
        self._parts = bytearray()

    def add(self, piece: bytes) -> None:
        """Add a piece. Raises ServingError as soon as the message cannot be valid."""
        self._parts += piece
        if len(self._parts) < PREFIX:
            return
        size = self._size()
        if size > self._largest:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            raise ServingError(code, f"Received message larger than max ({size} vs. {self._largest})")
        if len(self._parts) > PREFIX + size:
            raise ServingError(grpc.StatusCode.UNIMPLEMENTED, "the call has more than one request message")

    def whole(self) -> bytes:
        """Return the message, decompressed. Raises ServingError."""
        if len(self._parts) < PREFIX or len(self._parts) != PREFIX + self._size():
            raise ServingError(grpc.StatusCode.INTERNAL, f"the request is not whole ({len(self._parts)} bytes)")
        data = bytes(memoryview(self._parts)[PREFIX:])
        return self._unpacked(data) if self._parts[0] else data

    def __len__(self) -> int:
        return len(self._parts)

    def _size(self) -> int:
        return int.from_bytes(self._parts[1:PREFIX], "big")

    def _unpacked(self, data: bytes) -> bytes:
        bits = ENCODINGS.get(self._encoding)
        if bits is None:
            text = f"the message is compressed as {self._encoding[:40]!r}; gzip and deflate are taken"
            raise ServingError(grpc.StatusCode.UNIMPLEMENTED, text)
        inflater = zlib.decompressobj(bits)
        try:
            unpacked = inflater.decompress(data, self._largest + 1)
        except zlib.error as error:
            raise ServingError(grpc.StatusCode.INTERNAL, f"the message is not {self._encoding}: {error}") from error
        if len(unpacked) > self._largest:
            raise ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, "Decompressed message larger than max")
        if not inflater.eof:
            raise ServingError(grpc.StatusCode.INTERNAL, f"the {self._encoding} message is cut off")
        return unpacked
