"""TensorProto <-> numpy, without Python work per element.

Tensors are written as TF Serving does by default: values in the typed fields (`float_val`, `int_val`, `string_val`
...), not in `tensor_content`. Both forms are read.
"""

import io
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tensorflow.core.framework import tensor_pb2, types_pb2

from tensor_serving import proto_scanner
from tensor_serving.embedded import dtypes
from tensor_serving.embedded.errors import invalid

Array = NDArray[Any]

# The size of the largest message: a shape without values must not make the server allocate more.
MAX_BYTES = 64 * 1024 * 1024
MAX_DIMENSIONS = 32  # numpy 1's limit; TensorFlow's is 254


class _Field(NamedTuple):
    """The field of a TensorProto with the values of a dtype: its name, and numpy's dtype of the values in it."""

    name: str
    carrier: Any = None
    # The field's number if its elements are packed with a fixed size: they are then the array's own bytes, copied as
    # a whole, 3 us for 25,000 floats. The other fields are iterated in C, 20 to 30 ns an element; decoding their
    # bytes by numpy operations was measured to take twice as long.
    packed: int = 0


_SPECIAL = {
    types_pb2.DT_FLOAT: _Field("float_val", np.float32, 5),
    types_pb2.DT_DOUBLE: _Field("double_val", np.float64, 6),
    types_pb2.DT_COMPLEX64: _Field("scomplex_val", np.float32, 9),
    types_pb2.DT_COMPLEX128: _Field("dcomplex_val", np.float64, 12),
    types_pb2.DT_HALF: _Field("half_val", np.uint16),
    types_pb2.DT_BFLOAT16: _Field("half_val", np.uint16),
    types_pb2.DT_FLOAT8_E5M2: _Field("float8_val"),
    types_pb2.DT_FLOAT8_E4M3FN: _Field("float8_val"),
    types_pb2.DT_INT4: _Field("int_val", np.int8),
    types_pb2.DT_UINT4: _Field("int_val", np.uint8),
    types_pb2.DT_UINT32: _Field("uint32_val", np.uint32),
    types_pb2.DT_INT64: _Field("int64_val", np.int64),
    types_pb2.DT_UINT64: _Field("uint64_val", np.uint64),
    types_pb2.DT_BOOL: _Field("bool_val", np.bool_),
    types_pb2.DT_STRING: _Field("string_val", np.object_),
}
# All others are small integers; the quantized ones are numpy structs with one field.
_FIELDS = {
    number: _SPECIAL.get(number) or _Field("int_val", dtype[0] if dtype.names else dtype)
    for number, dtype in dtypes.BY_NUMBER.items()
}


def to_array(alias: str, proto: tensor_pb2.TensorProto) -> Array:
    """Return the tensor's values; strings as an object array of bytes. The array may be read-only.

    As in TensorFlow, missing values are filled with the last one, or with zeros if there are none; surplus values are
    dropped; a shape of unknown rank has the dimensions that it lists, so without any it is a scalar.
    Raises ServingError INVALID_ARGUMENT when dtype, shape and values do not fit together or are too large.
    """
    try:
        dtype = dtypes.to_numpy(proto.dtype)
        shape = _shape(proto, dtype.itemsize)
        if proto.tensor_content:
            if dtype.hasobject:
                raise TypeError("strings are to be sent in string_val, not in tensor_content")
            return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
        return _fill(_values(proto, _FIELDS[proto.dtype], dtype), shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid(f"tensor parsing error: {alias}: {error}") from error


def write(array: Array, proto: tensor_pb2.TensorProto) -> None:
    """Fill an empty message with an array; strings are passed as an object array of bytes.

    Raises TypeError when TensorFlow has no such dtype.
    """
    proto.dtype = dtypes.to_number(array.dtype)
    proto.tensor_shape.SetInParent()  # a scalar has a shape too: one without dimensions
    for length in array.shape:
        proto.tensor_shape.dim.add(size=length)
    field = _FIELDS[proto.dtype]
    if field.packed:
        raw = array.tobytes()
        proto.MergeFromString(bytes([field.packed << 3 | 2]) + _varint(len(raw)) + raw)
    elif field.carrier is None:
        setattr(proto, field.name, array.tobytes())
    else:
        getattr(proto, field.name).extend(np.ascontiguousarray(array).ravel().view(field.carrier).tolist())


def _shape(proto: tensor_pb2.TensorProto, itemsize: int) -> tuple[int, ...]:
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if any(length < 0 for length in shape):
        raise ValueError(f"shape {shape} is not fully defined")
    if len(shape) > MAX_DIMENSIONS or math.prod(shape) * itemsize > MAX_BYTES:
        raise ValueError(f"{len(shape)} dimensions, {math.prod(shape)} elements of {itemsize} bytes are too many")
    return shape


def _values(proto: tensor_pb2.TensorProto, field: _Field, dtype: np.dtype[Any]) -> Array:
    if field.packed:
        data = proto.SerializeToString()
        found = proto_scanner.fields(io.BytesIO(data), 0, len(data))
        raw = b"".join(data[f.start : f.end] for f in found if f.number == field.packed)
        return np.frombuffer(raw, dtype)
    values = getattr(proto, field.name)
    if field.carrier is None:
        return np.frombuffer(values, dtype)
    return np.fromiter(values, field.carrier, len(values)).view(dtype)


def _fill(values: Array, shape: tuple[int, ...]) -> Array:
    count = math.prod(shape)
    if len(values) < count:
        last = values[-1:] if len(values) else np.array([b""] if values.dtype == object else [0]).astype(values.dtype)
        values = np.concatenate([values, np.repeat(last, count - len(values))])
    return values[:count].reshape(shape)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
