"""Our messages against TensorFlow's own, and tensors there and back."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gateway_kit import PROGRAMS, with_project
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tensor_rest.backend import tensors
from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.backend.protos.generate import PROJECT, generate
from tensor_rest.backend.tensors import WireError, from_tensor, type_name, write


def shape(*sizes: int) -> pb.TensorShapeProto:
    return pb.TensorShapeProto(dim=[pb.TensorShapeProto.Dim(size=size) for size in sizes])


def written(array: np.ndarray) -> pb.TensorProto:
    tensor = pb.TensorProto()
    write(array, tensor)
    return tensor


def test_generated_modules_are_up_to_date(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is for developers")
    generate(tmp_path)
    for name in ("serving_pb2.py", "serving_pb2.pyi"):
        fresh = (tmp_path / "tensor_rest/backend/protos" / name).read_text()
        assert fresh == (PROJECT / "tensor_rest/backend/protos" / name).read_text(), (
            "run python -m tensor_rest.backend.protos.generate"
        )


@given(
    arrays.arrays(
        st.one_of(
            arrays.integer_dtypes(),
            arrays.unsigned_integer_dtypes(),
            arrays.boolean_dtypes(),
            arrays.floating_dtypes(sizes=(16, 32, 64)),
        ),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
def test_an_array_comes_back_as_it_was(array: np.ndarray) -> None:
    back = from_tensor(pb.TensorProto.FromString(written(array).SerializeToString()))
    assert back.shape == array.shape
    assert back.dtype == array.dtype.newbyteorder("<")
    assert back.tobytes() == array.astype(back.dtype).tobytes()


def test_strings_come_back() -> None:
    array = np.array([[b"card", b"\xff\x00"]], dtype=object)
    assert from_tensor(written(array)).tolist() == array.tolist()


@pytest.mark.parametrize(
    ("dtype", "field", "values", "wanted"),
    [
        (pb.DT_FLOAT, "float_val", [0.5, 2.0], [0.5, 2.0]),
        (pb.DT_DOUBLE, "double_val", [0.1, 2.0], [0.1, 2.0]),
        (pb.DT_HALF, "half_val", [0x3C00, 0xC000], [1.0, -2.0]),
        (pb.DT_BFLOAT16, "half_val", [0x3F80, 0xC000], [(0x3F80,), (0xC000,)]),
        (pb.DT_COMPLEX64, "scomplex_val", [1, 2, 0.5, -1], [1 + 2j, 0.5 - 1j]),
        (pb.DT_COMPLEX128, "dcomplex_val", [0.1, 2, 0, -1], [0.1 + 2j, -1j]),
        (pb.DT_INT8, "int_val", [-1, 127], [-1, 127]),
        (pb.DT_UINT8, "int_val", [0, 255], [0, 255]),
        (pb.DT_INT64, "int64_val", [-(2**63), 2**63 - 1], [-(2**63), 2**63 - 1]),
        (pb.DT_UINT64, "uint64_val", [0, 2**64 - 1], [0, 2**64 - 1]),
        (pb.DT_UINT32, "uint32_val", [0, 2**32 - 1], [0, 2**32 - 1]),
        (pb.DT_BOOL, "bool_val", [True, False], [True, False]),
        (pb.DT_STRING, "string_val", [b"a", b""], [b"a", b""]),
    ],
)
def test_values_are_read_from_the_field_of_their_type(dtype: int, field: str, values: list, wanted: list) -> None:
    tensor = pb.TensorProto(dtype=dtype, tensor_shape=shape(2), **{field: values})
    assert from_tensor(tensor).tolist() == wanted


def test_a_last_value_left_out_is_repeated_and_no_value_is_zero() -> None:
    assert from_tensor(pb.TensorProto(dtype=pb.DT_FLOAT, tensor_shape=shape(2, 2), float_val=[1, 7])).tolist() == [
        [1, 7],
        [7, 7],
    ]
    assert from_tensor(pb.TensorProto(dtype=pb.DT_INT32, tensor_shape=shape(3))).tolist() == [0, 0, 0]
    assert from_tensor(pb.TensorProto(dtype=pb.DT_STRING, tensor_shape=shape(1))).tolist() == [b""]


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (pb.TensorProto(dtype=pb.DT_FLOAT, tensor_shape=shape(2), tensor_content=b"123"), "tensor_content has 3 bytes"),
        (pb.TensorProto(dtype=pb.DT_FLOAT, tensor_shape=shape(1), float_val=[1, 2]), "2 values do not fit"),
        (pb.TensorProto(dtype=pb.DT_FLOAT, tensor_shape=shape(-1), float_val=[1]), "unknown dimension"),
        (pb.TensorProto(dtype=pb.DT_FLOAT, tensor_shape=shape(1 << 20, 1 << 20)), "is over"),
        (pb.TensorProto(dtype=pb.DT_UINT8, tensor_shape=shape(1), int_val=[300]), "does not fit uint8"),
        (pb.TensorProto(dtype=pb.DT_HALF, tensor_shape=shape(1), half_val=[70000]), "does not fit"),
        (pb.TensorProto(dtype=pb.DT_VARIANT, tensor_shape=shape(1)), "variant"),
        (pb.TensorProto(dtype=99, tensor_shape=shape(1)), "99"),
    ],
)
def test_a_tensor_that_makes_no_sense_is_refused(tensor: pb.TensorProto, text: str) -> None:
    with pytest.raises(WireError, match=text):
        from_tensor(tensor)


def test_arrays_without_a_wire_type_are_refused() -> None:
    with pytest.raises(WireError, match="datetime64"):
        written(np.zeros(1, "datetime64[s]"))


def test_types_have_names() -> None:
    assert type_name(pb.DT_UINT8) == "uint8"
    assert tensors.numpy_type(pb.DT_STRING) == np.dtype(object)


def test_the_gateway_does_not_import_tensorflow() -> None:
    code = "import sys, tensor_rest.wsgi; assert not {'tensorflow', 'tensorflow_serving'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("tensorflow", "tensorflow_serving")),
    reason="compares with TensorFlow's own messages, which the gateway does not need",
)
def test_our_messages_are_theirs_on_the_wire_and_in_one_process() -> None:
    program = [sys.executable, str(PROGRAMS / "messages_of_tensorflow.py")]
    subprocess.run(program, env=with_project(), check=True)
