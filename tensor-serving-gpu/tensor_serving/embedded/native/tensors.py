"""numpy array <-> TF_Tensor.

Inputs are copied: a graph may keep its inputs (in a variable, a queue) or return them unchanged, for longer than the
caller keeps the array; and data from the network are seldom aligned as TensorFlow requires, so it would copy them
itself. Large outputs are not copied: the array is a read-only view, and the tensor is deleted with the last view of it.
Small outputs are copied, because that is faster.
"""

import ctypes
import math
from ctypes import c_int64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensor_serving.embedded import dtypes
from tensor_serving.embedded.native.library import Deallocator, library

Array = NDArray[Any]

_STRING_BYTES = 24  # sizeof(TF_TString)
_ALIGNMENT = 64  # with less, Eigen aborts the process
_LARGE_BYTES = 64 * 1024  # of an input from which on it is copied without the GIL, of an output it is not copied

_copy_short = ctypes.PyDLL(None).memcpy
_copy_short.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_copy_short.restype = None
_copy_long = ctypes.memmove  # releases the GIL


def to_tensor(array: Array) -> int:
    """Return a new TF_Tensor with the array's values; strings are passed as an object array of bytes.

    The caller deletes it. Raises TypeError when TensorFlow has no such dtype, or a string is not bytes.
    """
    number = dtypes.to_number(array.dtype)
    dims = (c_int64 * array.ndim)(*array.shape)
    if number == dtypes.STRING:
        return _from_strings(array, dims)
    tensor = library().TF_AllocateTensor(number, dims, len(dims), array.nbytes)
    start = library().TF_TensorData(tensor)
    if array.nbytes < _LARGE_BYTES:
        _copy_short(start, array.tobytes(), array.nbytes)  # copying twice is faster than getting the address
    else:
        array = np.ascontiguousarray(array)
        _copy_long(start, array.ctypes.data, array.nbytes)
    return int(tensor)


def to_array(tensor: int) -> Array:
    """Return the values of a TF_Tensor and take ownership of it. Raises TypeError for a resource or a variant."""
    owner = _Owner(tensor)
    api = library()
    dtype = dtypes.to_numpy(api.TF_TensorType(tensor))
    shape = tuple([api.TF_Dim(tensor, axis) for axis in range(api.TF_NumDims(tensor))])
    if dtype.hasobject:
        return _to_strings(api.TF_TensorData(tensor), shape)
    size = api.TF_TensorByteSize(tensor)
    if size < _LARGE_BYTES:
        return np.frombuffer(ctypes.string_at(api.TF_TensorData(tensor), size), dtype).reshape(shape)
    owner.__array_interface__ = {
        "version": 3,
        "shape": (size,),
        "typestr": "|u1",
        "data": (api.TF_TensorData(tensor), True),
    }
    return np.asarray(owner).view(dtype).reshape(shape)


class _Owner:
    """Lends numpy a tensor's memory; numpy keeps it as the base of every view."""

    __array_interface__: dict[str, Any]

    def __init__(self, tensor: int) -> None:
        self._tensor, self._delete = tensor, library().TF_DeleteTensor

    def __del__(self) -> None:
        self._delete(self._tensor)


def _from_strings(array: Array, dims: Any) -> int:
    api = library()
    length = array.size * _STRING_BYTES
    memory = ctypes.create_string_buffer(length + _ALIGNMENT)  # all zeros: empty strings
    start = -(-ctypes.addressof(memory) // _ALIGNMENT) * _ALIGNMENT
    texts = array.ravel().tolist()
    for text in texts:
        if not isinstance(text, bytes):
            raise TypeError(f"a string tensor holds bytes, not {type(text).__name__}")
    _lent[start] = memory
    for position, text in enumerate(texts):
        api.TF_StringCopy(start + position * _STRING_BYTES, text, len(text))
    return int(api.TF_NewTensor(dtypes.STRING, dims, len(dims), start, length, _free_strings, None))


# The memory of string tensors by its address, until TensorFlow drops its last reference to it. If TensorFlow allocated
# the memory, it would free it, but not the memory that longer strings in it point to.
_lent: dict[int, Any] = {}


@Deallocator
def _free_strings(start: int, length: int, _argument: int) -> None:
    for address in range(start, start + length, _STRING_BYTES):
        library().TF_StringDealloc(address)
    del _lent[start]


def _to_strings(start: int, shape: tuple[int, ...]) -> Array:
    api = library()
    texts = np.empty(math.prod(shape), object)
    for position in range(len(texts)):
        text = start + position * _STRING_BYTES
        texts[position] = ctypes.string_at(api.TF_StringGetDataPointer(text), api.TF_StringGetSize(text))
    return texts.reshape(shape)
