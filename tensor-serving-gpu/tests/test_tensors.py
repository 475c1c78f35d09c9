"""TensorProto <-> numpy, against TensorFlow's own conversions."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.tensors import to_array, write

DTYPES = ["float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"]
RARE = ["float16", "bfloat16", "complex64", "complex128"]
FIELDS = {
    **{f"{name}_val": [kind] for name, kind in (("float", "float32"), ("double", "float64"), ("bool", "bool"))},
    **{f"{name}_val": [name] for name in ("uint32", "int64", "uint64")},
    "int_val": ["int8", "uint8", "int16", "uint16", "int32"],
}
TYPED = {"float16": "half_val", "bfloat16": "half_val", "complex64": "scomplex_val", "complex128": "dcomplex_val"}


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
    typed = TYPED.get(dtype) or next(name for name, known in FIELDS.items() if dtype in known)
    assert {field.name for field, _ in proto.ListFields()} == {"dtype", "tensor_shape"} | {
        typed for _ in range(values.size)
    }


@given(st.lists(st.binary()))
def test_strings_survive_whatever_their_bytes(texts: list[bytes]) -> None:
    proto = tensor_pb2.TensorProto()
    write(np.array(texts, dtype=object), proto)
    assert tf.make_ndarray(proto).tolist() == texts
    assert to_array("x", proto).tolist() == texts


@given(st.binary())
def test_a_lone_string_keeps_its_last_zero_bytes(text: bytes) -> None:
    proto = tensor_pb2.TensorProto()
    write(np.array(text, dtype=object), proto)
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


@pytest.mark.parametrize("dtype", ["qint8", "quint8", "qint16", "quint16", "qint32", "float8_e5m2", "float8_e4m3fn"])
def test_rare_dtypes_survive(dtype: str) -> None:
    kind = np.dtype(tf.as_dtype(dtype).as_numpy_dtype)
    values = np.frombuffer(bytes(range(0, 24 * kind.itemsize, 3)), kind).reshape(-1, 2)
    proto = tensor_pb2.TensorProto()
    write(values, proto)
    assert not proto.tensor_content
    for read in (to_array("x", proto), tf.make_ndarray(proto)):
        assert read.tobytes() == values.tobytes()
        assert read.shape == values.shape


@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64", "int32", "bool", "string"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_missing_values_continue_the_last_one_or_are_zeros(dtype: str, count: int) -> None:
    kind = tf.as_dtype(dtype)
    values = np.array([b"a", b"b"] if dtype == "string" else [1, 1]).astype(kind.as_numpy_dtype)[:count]
    proto = tensor_pb2.TensorProto()
    write(values, proto)
    proto.tensor_shape.dim[0].size = 4
    filled = to_array("x", proto).tolist()
    last = values[-1] if count else (b"" if dtype == "string" else 0)
    assert filled == [*values.tolist(), *[last] * (4 - count)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dtype: DT_RESOURCE tensor_shape { }", "resource cannot be sent"),
        ("dtype: DT_VARIANT tensor_shape { }", "variant cannot be sent"),
        ("tensor_shape { }", "invalid cannot be sent"),
        ("dtype: 999 tensor_shape { }", "tensor of unknown dtype enum 999 cannot be sent"),
        ("dtype: DT_FLOAT tensor_shape { dim { size: -1 } }", "not fully defined"),
        ("dtype: DT_FLOAT tensor_shape { dim { size: 99999999999 } } float_val: 1", "too many"),
        ("dtype: DT_INT8 tensor_shape { dim { size: 1 } } int_val: 300", "300"),
        ("dtype: DT_FLOAT tensor_shape { dim { size: 1 } } tensor_content: 'abc'", "multiple of element size"),
        ("dtype: DT_FLOAT tensor_shape { dim { size: 2 } } tensor_content: 'abcd'", "reshape"),
        ("dtype: DT_STRING tensor_shape { dim { size: 1 } } tensor_content: 'abc'", "in string_val"),
        ("dtype: DT_COMPLEX64 tensor_shape { dim { size: 1 } } scomplex_val: 1", "multiple of element size"),
    ],
)
def test_rubbish_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ServingError, match=reason) as refusal:
        to_array("x", text_format.Parse(text, tensor_pb2.TensorProto()))
    assert refusal.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.value.text.startswith("tensor parsing error: x: ")
