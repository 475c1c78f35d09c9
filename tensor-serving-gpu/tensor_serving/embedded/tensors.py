"""TensorProto <-> numpy, without Python work per element.

Answers are written as the real server writes them by default: values in the typed fields (`float_val`, `int_val`,
`string_val` ...), not in `tensor_content`. Only dtypes outside `_FIELDS` (half, complex, ...) go as `tensor_content`.
"""

import io
import math
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework import tensor_pb2, types_pb2

from tensor_serving import wire
from tensor_serving.embedded.errors import invalid

Array = NDArray[Any]

# No tensor is larger than the largest message: a shape alone must not make the server allocate more.
LARGEST_BYTES = 64 * 1024 * 1024
_MOST_DIMENSIONS = 32  # numpy 1's limit; TensorFlow's is 254

_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}
# Packed on the wire these are the array's own bytes, so they are moved as a whole: 3 us for 25,000 floats, where the
# repeated field, element by element, takes 500 to 1,000.
_PACKED = {types_pb2.DT_FLOAT: 5, types_pb2.DT_DOUBLE: 6}


def to_array(alias: str, proto: tensor_pb2.TensorProto) -> Array:
    """Return the tensor's values; strings as an object array of bytes. The array may be read-only.

    Fewer values than the shape wants are continued with the last one, none with zeros, as TensorFlow does.
    Raises ServingError INVALID_ARGUMENT when dtype, shape and values do not fit together or ask for too much.
    """
    try:
        dtype = tf.as_dtype(proto.dtype)
        if dtype in (tf.resource, tf.variant):
            raise TypeError(f"{dtype.name} cannot be sent")
        numpy_dtype = np.dtype(dtype.as_numpy_dtype)
        shape = _shape(proto, numpy_dtype.itemsize)
        if proto.tensor_content:
            return np.frombuffer(proto.tensor_content, numpy_dtype).reshape(shape)
        if proto.dtype not in _FIELDS:
            return tf.make_ndarray(proto)
        return _fill(_values(proto, numpy_dtype), shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid(f"tensor parsing error: {alias}: {error}") from error


def write(value: Array | bytes, proto: tensor_pb2.TensorProto) -> None:
    """Fill an empty message with a value as a session answers it: an array, a numpy scalar, or bytes for one string."""
    # Left to itself numpy would cut the zero bytes off a lone string's end.
    array = np.array(value, dtype=object) if isinstance(value, bytes) else np.asarray(value)
    number = types_pb2.DT_STRING if array.dtype == object else tf.as_dtype(array.dtype).as_datatype_enum
    proto.dtype = number
    proto.tensor_shape.SetInParent()  # a scalar has a shape too: one without dimensions
    for length in array.shape:
        proto.tensor_shape.dim.add(size=length)
    if number in _PACKED:
        raw = array.tobytes()
        proto.MergeFromString(bytes([_PACKED[number] << 3 | 2]) + _varint(len(raw)) + raw)
    elif number in _FIELDS:
        getattr(proto, _FIELDS[number]).extend(array.ravel().tolist())
    else:
        proto.tensor_content = array.tobytes()


def _shape(proto: tensor_pb2.TensorProto, itemsize: int) -> tuple[int, ...]:
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(length < 0 for length in shape):
        raise ValueError(f"shape {'of unknown rank' if proto.tensor_shape.unknown_rank else shape} is not a full one")
    if len(shape) > _MOST_DIMENSIONS or math.prod(shape) * itemsize > LARGEST_BYTES:
        raise ValueError(f"{len(shape)} dimensions, {math.prod(shape)} elements of {itemsize} bytes are too many")
    return shape


def _values(proto: tensor_pb2.TensorProto, dtype: np.dtype[Any]) -> Array:
    if proto.dtype in _PACKED:
        data = proto.SerializeToString()
        found = wire.fields(io.BytesIO(data), 0, len(data))
        raw = b"".join(data[f.start : f.end] for f in found if f.number == _PACKED[proto.dtype])
        return np.frombuffer(raw, dtype)
    values = getattr(proto, _FIELDS[proto.dtype])
    return np.fromiter(values, dtype, len(values))


def _fill(values: Array, shape: tuple[int, ...]) -> Array:
    count = math.prod(shape)
    if len(values) < count:
        last = values[-1] if len(values) else (b"" if values.dtype == object else 0)
        values = np.concatenate([values, np.full(count - len(values), last, values.dtype)])
    return values.reshape(shape)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
