"""numpy array -> TF_Tensor -> numpy array: whatever goes in comes out."""

import numpy as np
import pytest
import tensorflow as tf

from tensor_serving.embedded.native import tensors

FINE = {  # dtypes and their bytes per element
    **{"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "complex64": 8, "complex128": 16, "bool": 1},
    **{f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def texts(*values: bytes) -> np.ndarray:
    return np.array(values, dtype=object)


@pytest.mark.parametrize("dtype", FINE)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (5, 7), (300, 300)])
def test_numbers_of_every_dtype_and_shape_pass_through(dtype: str, shape: tuple[int, ...]) -> None:
    values = (np.arange(int(np.prod(shape))) % 100).reshape(shape).astype(tf.as_dtype(dtype).as_numpy_dtype)
    back = tensors.to_array(tensors.to_tensor(values))
    assert (back.dtype, back.shape, back.tobytes()) == (values.dtype, shape, values.tobytes())
    assert back.itemsize == FINE[dtype]
    assert not back.flags.writeable


def test_a_view_that_is_not_in_one_piece_passes_through() -> None:
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    for view in (values.T, values[::2, 1:, ::-1], np.broadcast_to(values[:1], (4, 4, 5))):
        assert np.array_equal(tensors.to_array(tensors.to_tensor(view)), view)


def test_strings_pass_through_whatever_their_bytes_and_length() -> None:
    for length in (0, 1, 21, 22, 23, 24, 1000, 100_000):  # up to 22 bytes they lie in the tensor itself
        values = texts(b"\0" * length, b"", b"a\0b" * length).reshape(3, 1)
        back = tensors.to_array(tensors.to_tensor(values))
        assert back.tolist() == values.tolist()
    assert tensors.to_array(tensors.to_tensor(np.array(b"x\0", dtype=object))).item() == b"x\0"
    assert tensors.to_array(tensors.to_tensor(np.empty((0, 2), object))).shape == (0, 2)
