"""BatchingParameters: the file of --batching_parameters_file, and batching_params.pbtxt in a version folder."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensor_serving.embedded import textproto

_FIELDS = {
    "max_batch_size": "Int64Value",
    "batch_timeout_micros": "Int64Value",
    "max_enqueued_batches": "Int64Value",
    "num_batch_threads": "Int64Value",
    "thread_pool_name": "StringValue",
    "allowed_batch_sizes": "repeated int64",
    "pad_variable_length_inputs": "bool",
    "enable_large_batch_splitting": "BoolValue",
    "max_execution_batch_size": "Int64Value",
}
_MINIMUMS = {
    "max_batch_size": 1,
    "batch_timeout_micros": 0,
    "max_enqueued_batches": 1,
    "num_batch_threads": 1,
    "max_execution_batch_size": 1,
}


class BatchingParametersError(Exception):
    """The parameters are invalid. The text names what was found and what was expected."""


@dataclass(frozen=True)
class BatchingParameters:
    """How calls are batched; fields and defaults are TF Serving's. Sizes count rows, that is the length of axis 0."""

    max_batch_size: int = 1000
    """Rows of the largest batch, unless splitting is on. A larger call is a batch of its own; TF Serving refuses it."""
    batch_timeout_micros: int = 0
    """How long a batch that is not full waits for more calls once a thread is free."""
    max_enqueued_batches: int = 10
    """The most waiting batches of one kind; a call that would need another is refused."""
    num_batch_threads: int = len(os.sched_getaffinity(0))
    allowed_batch_sizes: tuple[int, ...] = ()
    """If any are given, a batch is padded to the next larger one."""
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 1000
    """The most rows of one batch; equals max_batch_size unless splitting is on."""


def read(file: Path) -> BatchingParameters:
    """Return the parameters in a file. Raises BatchingParametersError."""
    try:
        message = textproto.read(file, "BatchingParameters", _FIELDS)
    except textproto.TextProtoError as error:
        raise BatchingParametersError(f"{error} (numbers are written max_batch_size {{ value: 32 }})") from error
    values: dict[str, Any] = {name: getattr(message, name).value for name in _MINIMUMS if message.HasField(name)}
    for name, value in values.items():
        if value < _MINIMUMS[name]:
            raise BatchingParametersError(f"{file}: {name} is {value}, wanted at least {_MINIMUMS[name]}")
    splitting = message.enable_large_batch_splitting.value
    largest = values.get("max_batch_size", BatchingParameters.max_batch_size)
    # As in TF Serving the execution size counts only with splitting.
    execution = values.get("max_execution_batch_size", largest) if splitting else largest
    if execution > largest:
        raise BatchingParametersError(
            f"{file}: max_execution_batch_size is {execution}, wanted at most max_batch_size, {largest}"
        )
    allowed = tuple(message.allowed_batch_sizes)
    _check_allowed(file, allowed, execution, "max_execution_batch_size" if splitting else "max_batch_size")
    return BatchingParameters(
        **values
        | {
            "allowed_batch_sizes": allowed,
            "pad_variable_length_inputs": message.pad_variable_length_inputs,
            "enable_large_batch_splitting": splitting,
            "max_execution_batch_size": execution,
        }
    )


def _check_allowed(file: Path, allowed: tuple[int, ...], last: int, name: str) -> None:
    if any(size < 1 for size in allowed) or list(allowed) != sorted(set(allowed)):
        raise BatchingParametersError(
            f"{file}: allowed_batch_sizes entries must be monotonically increasing, from 1; found {list(allowed)}"
        )
    if allowed and allowed[-1] != last:
        raise BatchingParametersError(
            f"{file}: Last entry in allowed_batch_sizes must match {name}; last entry was {allowed[-1]}; "
            f"expected {last}"
        )
