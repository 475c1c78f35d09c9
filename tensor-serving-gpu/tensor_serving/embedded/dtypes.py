"""TensorFlow's dtypes by number (DataType in types.proto): numpy's dtype for each, and the name messages use."""

from typing import Any

import ml_dtypes
import numpy as np
from tensorflow.core.framework import types_pb2

STRING = types_pb2.DT_STRING

_QUANTIZED = {"qint8": np.int8, "quint8": np.uint8, "qint16": np.int16, "quint16": np.uint16, "qint32": np.int32}
_NUMPY = {
    "DT_FLOAT": np.float32,
    "DT_DOUBLE": np.float64,
    "DT_HALF": np.float16,
    "DT_BFLOAT16": ml_dtypes.bfloat16,
    "DT_FLOAT8_E5M2": ml_dtypes.float8_e5m2,
    "DT_FLOAT8_E4M3FN": ml_dtypes.float8_e4m3fn,
    "DT_INT4": ml_dtypes.int4,
    "DT_INT8": np.int8,
    "DT_INT16": np.int16,
    "DT_INT32": np.int32,
    "DT_INT64": np.int64,
    "DT_UINT4": ml_dtypes.uint4,
    "DT_UINT8": np.uint8,
    "DT_UINT16": np.uint16,
    "DT_UINT32": np.uint32,
    "DT_UINT64": np.uint64,
    "DT_BOOL": np.bool_,
    "DT_COMPLEX64": np.complex64,
    "DT_COMPLEX128": np.complex128,
    "DT_STRING": np.object_,
    # Structs with one named field, as in TensorFlow's Python package; otherwise numpy could not tell them from
    # integers.
    **{f"DT_{name.upper()}": [(name, kind)] for name, kind in _QUANTIZED.items()},
}
BY_NUMBER: dict[int, np.dtype[Any]] = {types_pb2.DataType.Value(name): np.dtype(kind) for name, kind in _NUMPY.items()}
_NUMBERS = {dtype: number for number, dtype in BY_NUMBER.items()}


def to_numpy(number: int) -> np.dtype[Any]:
    """Return numpy's dtype; strings are objects (bytes). Raises TypeError for a resource or a variant."""
    try:
        return BY_NUMBER[number]
    except KeyError:
        raise TypeError(f"a tensor of {name(number)} cannot be sent") from None


def to_number(dtype: np.dtype[Any]) -> int:
    """Return TensorFlow's number of a numpy dtype. Raises TypeError when it has none."""
    try:
        return _NUMBERS[dtype]
    except KeyError:
        raise TypeError(f"TensorFlow has no dtype for numpy's {dtype}") from None


def name(number: int) -> str:
    """Return the name that TensorFlow's C++ code uses in its messages: float, not float32."""
    if number not in types_pb2.DataType.values():
        return f"unknown dtype enum {number}"
    text: str = types_pb2.DataType.Name(number).removeprefix("DT_").lower()
    return text
