"""The array operations of batching: counting the rows of a call, merging calls, splitting their outputs."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from tensor_serving.embedded.call import Call
from tensor_serving.embedded.tensors import Array


class NotRowsError(Exception):
    """The outputs of a batch do not have one row for each input row. The text names their shapes."""


def rows_of(values: Sequence[Array]) -> int:
    """Return the length of axis 0 if all inputs of a call share it, else 0: the call is not a batch of rows."""
    if not values or any(value.ndim == 0 for value in values):
        return 0
    rows = len(values[0])
    return rows if all(len(value) == rows for value in values) else 0


def padded_size(rows: int, allowed: Sequence[int]) -> int:
    """Return the smallest of the allowed sizes (ascending) that is at least `rows`; `rows` itself if there is none."""
    position = bisect_left(allowed, rows)
    return allowed[position] if position < len(allowed) else rows


def merge(calls: Sequence[Call], padding: int, variable_length: bool) -> Call:
    """Merge calls of equal feeds and fetches into one, followed by `padding` copies of the last call's first row.

    With `variable_length`, arrays are first padded to the longest length of each axis, with their own first element.
    """
    values = []
    for column in zip(*(call.values for call in calls), strict=True):
        arrays = list(column)
        if variable_length:
            arrays = _same_lengths(arrays)
        if padding:
            arrays.append(np.repeat(arrays[-1][:1], padding, axis=0))
        values.append(np.concatenate(arrays) if len(arrays) > 1 else arrays[0])
    first = calls[0]
    return Call(first.signature, first.feeds, tuple(values), first.fetches)


def split(outputs: Sequence[Array], rows: Sequence[int], padding: int) -> list[list[Array]]:
    """Return the outputs of each call that went into a batch, as views, without the padding.

    Raises NotRowsError when an output does not have one row for each input row.
    """
    for output in outputs:
        if output.ndim == 0 or len(output) != sum(rows) + padding:
            raise NotRowsError(f"{sum(rows) + padding} rows went in, an output has the shape {list(output.shape)}")
    start, cut = 0, []
    for length in rows:
        cut.append([output[start : start + length] for output in outputs])
        start += length
    return cut


def join(parts: Sequence[Sequence[Array]]) -> list[Array]:
    """Return the outputs of a call that was run in parts. Raises NotRowsError when their rows differ in shape."""
    columns = list(zip(*parts, strict=True))
    for column in columns:
        if len({part.shape[1:] for part in column}) > 1:
            raise NotRowsError(f"parts of a request have rows of the shapes {[list(p.shape[1:]) for p in column]}")
    return [np.concatenate(column) for column in columns]


def slice_rows(call: Call, start: int, stop: int) -> Call:
    """Return a call for some of the rows."""
    return Call(call.signature, call.feeds, tuple(value[start:stop] for value in call.values), call.fetches)


def _same_lengths(arrays: list[Array]) -> list[Array]:
    longest = tuple(np.max([array.shape[1:] for array in arrays], axis=0))
    same = []
    for array in arrays:
        if array.shape[1:] != longest:
            # Padded as by TF Serving: with an element that the model is known to accept.
            fill = array.flat[0] if array.size else (b"" if array.dtype == object else 0)
            larger = np.full((len(array), *longest), fill, dtype=array.dtype)
            larger[tuple(slice(length) for length in array.shape)] = array
            array = larger
        same.append(array)
    return same
