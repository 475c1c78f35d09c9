"""TensorProto to NumPy and back, without TensorFlow.

By tensorflow/core/framework/tensor.proto, values are in `tensor_content` (row-major, little-endian) or in the field of
their type. TensorFlow Serving answers with the latter by default, so both are read.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np

from tensor_rest.backend.protos.serving_pb2 import DataType, TensorProto, TensorShapeProto

MAX_BYTES = 64 << 20
"""Largest array made of a tensor by default. A few bytes of a message can name a huge shape, so it is checked first."""


BFLOAT16 = np.dtype([("bfloat16", "<u2")])
"""bfloat16, which NumPy lacks, as a type with one 16-bit field. `to_bfloat16` and `from_bfloat16` convert floats."""


class WireError(ValueError):
    """A tensor that cannot be read or written; the message says what was found."""


class TypeNotSupportedError(WireError):
    """A tensor of a type that NumPy cannot hold, such as a resource."""


class _Kind(NamedTuple):
    dtype: np.dtype[Any]
    field: str


_KINDS: dict[int, _Kind] = {
    DataType.DT_FLOAT: _Kind(np.dtype("<f4"), "float_val"),
    DataType.DT_DOUBLE: _Kind(np.dtype("<f8"), "double_val"),
    DataType.DT_HALF: _Kind(np.dtype("<f2"), "half_val"),
    DataType.DT_BFLOAT16: _Kind(BFLOAT16, "half_val"),
    DataType.DT_COMPLEX64: _Kind(np.dtype("<c8"), "scomplex_val"),
    DataType.DT_COMPLEX128: _Kind(np.dtype("<c16"), "dcomplex_val"),
    DataType.DT_INT8: _Kind(np.dtype("i1"), "int_val"),
    DataType.DT_INT16: _Kind(np.dtype("<i2"), "int_val"),
    DataType.DT_INT32: _Kind(np.dtype("<i4"), "int_val"),
    DataType.DT_INT64: _Kind(np.dtype("<i8"), "int64_val"),
    DataType.DT_UINT8: _Kind(np.dtype("u1"), "int_val"),
    DataType.DT_UINT16: _Kind(np.dtype("<u2"), "int_val"),
    DataType.DT_UINT32: _Kind(np.dtype("<u4"), "uint32_val"),
    DataType.DT_UINT64: _Kind(np.dtype("<u8"), "uint64_val"),
    DataType.DT_BOOL: _Kind(np.dtype("?"), "bool_val"),
    DataType.DT_STRING: _Kind(np.dtype(object), "string_val"),
}
_TYPES = {kind.dtype: cast(DataType, number) for number, kind in _KINDS.items()}


def numpy_type(dtype: int) -> np.dtype[Any]:
    """The NumPy type of a DataType number; strings are objects (bytes). Raises TypeNotSupportedError for others."""
    kind = _KINDS.get(dtype)
    if kind is None:
        raise TypeNotSupportedError(f"Tensors of type {type_name(dtype)} are not supported.")
    return kind.dtype


def type_name(dtype: int) -> str:
    """Return the type's name, `uint8` for DT_UINT8; the number of an unknown type."""
    known = dtype in DataType.values()
    return DataType.Name(cast(DataType, dtype)).removeprefix("DT_").lower() if known else str(dtype)


def to_bfloat16(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Floats as bfloat16, rounded to the nearest, ties to even."""
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, np.float32)
    bits = floats.view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    rounded = np.where(np.isnan(floats), (bits >> np.uint32(16)) | np.uint32(0x40), rounded)
    values: np.ndarray[Any, Any] = rounded.astype("<u2").view(BFLOAT16).reshape(array.shape)
    return values


def from_bfloat16(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """bfloat16 as float32, which holds all its values."""
    bits: np.ndarray[Any, Any] = array["bfloat16"].astype(np.uint32) << np.uint32(16)
    return bits.view(np.float32)


def write(array: np.ndarray[Any, Any], tensor: TensorProto) -> None:
    """Fill an empty message with an array of numbers, bools (in `tensor_content`) or bytes (in `string_val`)."""
    number = _TYPES.get(array.dtype)
    if number is None:
        little = array.dtype.newbyteorder("<")
        if array.dtype.kind == "S":
            array = array.astype(object)
        elif little in _TYPES:
            array = array.astype(little)
        else:
            raise WireError(f"Arrays of type {array.dtype} cannot be sent; wanted a number, bool or bytes type.")
        number = _TYPES[array.dtype]
    tensor.dtype = number
    tensor.tensor_shape.CopyFrom(_shape_message(array.shape))
    if array.dtype.hasobject:
        tensor.string_val.extend(array.ravel().tolist())
    else:
        tensor.tensor_content = array.tobytes()


def from_tensor(tensor: TensorProto, max_bytes: int = MAX_BYTES) -> np.ndarray[Any, Any]:
    """Return the array of a TensorProto in its shape; strings become an object array of bytes. Raises WireError."""
    shape = _shape(tensor)
    dtype = numpy_type(tensor.dtype)
    count = math.prod(shape)
    if count * dtype.itemsize > max_bytes:
        raise WireError(f"A tensor of shape {shape} is over {max_bytes} bytes.")
    if tensor.tensor_content:
        if len(tensor.tensor_content) != count * dtype.itemsize or dtype.hasobject:
            raise WireError(f"tensor_content has {len(tensor.tensor_content)} bytes; shape {shape} of {dtype} differs.")
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    return _filled(_values(tensor, dtype), count, shape)


@lru_cache(1024)
def _shape_message(shape: tuple[int, ...]) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape])


def _shape(tensor: TensorProto) -> tuple[int, ...]:
    shape = tuple([dim.size for dim in tensor.tensor_shape.dim])
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise WireError("A tensor with values needs a whole shape; an unknown dimension was found.")
    return shape


def _values(tensor: TensorProto, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    found = getattr(tensor, _KINDS[tensor.dtype].field)
    if dtype.hasobject or (dtype.kind == "f" and dtype.itemsize > 2):
        return np.array(found[:], dtype)
    if dtype.kind == "c":
        if len(found) % 2:
            raise WireError(f"{len(found)} values are not pairs of a real and an imaginary part.")
        return np.array(found[:], dtype.type(0).real.dtype).view(dtype)
    raw = np.array(found)
    stored = np.dtype(np.uint16) if dtype in (np.float16, BFLOAT16) else dtype  # half_val: bit patterns
    narrow = raw.astype(stored)
    if stored.kind in "iu" and (narrow != raw).any():
        raise WireError(f"A value of {raw.min()} to {raw.max()} does not fit {dtype}.")
    return narrow.view(dtype)


def _filled(values: np.ndarray[Any, Any], count: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """`values` in `shape`, the last one repeated where the sender left equal ones out (tensor.proto)."""
    if len(values) > count:
        raise WireError(f"{len(values)} values do not fit shape {shape}.")
    if len(values) < count:
        last = values[-1:] if len(values) else _zero(values.dtype)
        values = np.concatenate([values, np.repeat(last, count - len(values))])
    return values.reshape(shape)


def _zero(dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return np.array([b""], dtype=object) if dtype.hasobject else np.zeros(1, dtype)
