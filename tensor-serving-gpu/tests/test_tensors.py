"""TensorProto <-> numpy, against TensorFlow's own conversions."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2

from tensor_serving.embedded.tensors import to_array, write

DTYPES = ["float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"]
RARE = ["float16", "bfloat16", "complex64", "complex128"]


@pytest.mark.parametrize("dtype", DTYPES + RARE)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 2), (2, 0, 4)])
def test_numbers_of_every_dtype_and_shape_survive(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.arange(int(np.prod(shape))).reshape(shape).astype(tf.as_dtype(dtype).as_numpy_dtype)
    proto = tensor_pb2.TensorProto()
    write(values, proto)
    assert proto.tensor_shape == tf.make_tensor_proto(values).tensor_shape
    for read in (tf.make_ndarray(proto), to_array("x", proto), to_array("x", tf.make_tensor_proto(values))):
        assert read.dtype == values.dtype
        assert np.array_equal(read, values)
    assert bool(proto.tensor_content) == (dtype in RARE and values.size > 0)


@given(st.lists(st.binary()))
def test_strings_survive_whatever_their_bytes(texts: list[bytes]) -> None:
    proto = tensor_pb2.TensorProto()
    write(np.array(texts, dtype=object), proto)
    assert tf.make_ndarray(proto).tolist() == texts
    assert to_array("x", proto).tolist() == texts


@given(st.binary())
def test_a_lone_string_keeps_its_last_zero_bytes(text: bytes) -> None:
    proto = tensor_pb2.TensorProto()
    write(text, proto)
    assert list(proto.string_val) == [text]
    assert proto.HasField("tensor_shape")
    assert to_array("x", proto).item() == text


@pytest.mark.parametrize("field", ["float_val", "tensor_content"])
def test_floats_are_exact(field: str) -> None:
    values = np.array([np.nan, np.inf, -0.0, 1e-45, 3.4e38], np.float32)
    proto = tf.make_tensor_proto(values)
    if field == "float_val":
        proto.ClearField("tensor_content")
        proto.float_val.extend(values.tolist())
    assert to_array("x", proto).tobytes() == values.tobytes()
