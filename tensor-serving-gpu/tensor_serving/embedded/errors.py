"""The one exception that a request can fail with; it carries the status that the client gets."""

import grpc


class ServingError(Exception):
    """A failed request: a gRPC status code and the text for the client (TF Serving's own where it has one)."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


def invalid(text: str) -> ServingError:
    """Return an INVALID_ARGUMENT."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, text)


def not_found(text: str) -> ServingError:
    """Return a NOT_FOUND."""
    return ServingError(grpc.StatusCode.NOT_FOUND, text)


def failed_precondition(text: str) -> ServingError:
    """Return a FAILED_PRECONDITION."""
    return ServingError(grpc.StatusCode.FAILED_PRECONDITION, text)


def unimplemented(text: str) -> ServingError:
    """Return an UNIMPLEMENTED."""
    return ServingError(grpc.StatusCode.UNIMPLEMENTED, text)


def deadline_exceeded(text: str) -> ServingError:
    """Return a DEADLINE_EXCEEDED."""
    return ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, text)


def by_number(number: int, text: str) -> ServingError:
    """Return the error for one of TensorFlow's error codes, which are gRPC's."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    return ServingError(codes.get(number, grpc.StatusCode.UNKNOWN), text)
