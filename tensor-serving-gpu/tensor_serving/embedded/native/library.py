"""TensorFlow's shared library: found in the installed package, loaded and declared.

It is loaded twice: long functions (loading, running, closing) release the GIL while they run, short ones keep it.
Releasing and acquiring the GIL a dozen times per call would cost more than the calls themselves as soon as other
threads want it too.
"""

import ctypes
import functools
import sys
from ctypes import c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from types import SimpleNamespace

from tensor_serving.embedded import protos

Deallocator = ctypes.CFUNCTYPE(None, c_void_p, c_size_t, c_void_p)


class Output(ctypes.Structure):
    """TF_Output: one output of an operation."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


class Buffer(ctypes.Structure):
    """TF_Buffer: bytes that belong to TensorFlow or to the owner of its deallocator."""

    _fields_ = (("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p))


_Outputs = ctypes.POINTER(Output)
_Buffer = ctypes.POINTER(Buffer)
_Pointers = ctypes.POINTER(c_void_p)
_Dims = ctypes.POINTER(c_int64)

# Name: result type, argument types. From tensorflow/c/{c_api,tf_buffer,tf_status,tf_tensor,tf_tstring}.h.
_LONG = {
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [c_void_p, _Buffer, c_char_p, ctypes.POINTER(c_char_p), c_int, c_void_p, _Buffer, c_void_p],
    ),
    "TF_SessionRun": (
        None,
        [c_void_p, _Buffer]
        + [_Outputs, _Pointers, c_int] * 2  # what is fed, what is fetched
        + [_Pointers, c_int, c_void_p, c_void_p],
    ),
    "TF_CloseSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteGraph": (None, [c_void_p]),
    "TF_GraphToGraphDef": (None, [c_void_p, _Buffer, c_void_p]),
    "TF_GraphImportGraphDef": (None, [c_void_p, _Buffer, c_void_p, c_void_p]),
}
_SHORT = {
    "TF_NewStatus": (c_void_p, []),
    "TF_DeleteStatus": (None, [c_void_p]),
    "TF_GetCode": (c_int, [c_void_p]),
    "TF_Message": (c_char_p, [c_void_p]),
    "TF_NewBuffer": (_Buffer, []),
    "TF_NewBufferFromString": (_Buffer, [c_char_p, c_size_t]),
    "TF_DeleteBuffer": (None, [_Buffer]),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_DeleteSessionOptions": (None, [c_void_p]),
    "TF_SetConfig": (None, [c_void_p, c_char_p, c_size_t, c_void_p]),
    "TF_NewGraph": (c_void_p, []),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_OperationNumOutputs": (c_int, [c_void_p]),
    "TF_OperationOutputType": (c_int, [Output]),
    "TF_NewImportGraphDefOptions": (c_void_p, []),
    "TF_DeleteImportGraphDefOptions": (None, [c_void_p]),
    "TF_ImportGraphDefOptionsSetPrefix": (None, [c_void_p, c_char_p]),
    "TF_NewOperation": (c_void_p, [c_void_p, c_char_p, c_char_p]),
    "TF_FinishOperation": (c_void_p, [c_void_p, c_void_p]),
    "TF_NewSession": (c_void_p, [c_void_p, c_void_p, c_void_p]),
    "TF_AllocateTensor": (c_void_p, [c_int, _Dims, c_int, c_size_t]),
    "TF_NewTensor": (c_void_p, [c_int, _Dims, c_int, c_void_p, c_size_t, Deallocator, c_void_p]),
    "TF_DeleteTensor": (None, [c_void_p]),
    "TF_TensorType": (c_int, [c_void_p]),
    "TF_NumDims": (c_int, [c_void_p]),
    "TF_Dim": (c_int64, [c_void_p, c_int]),
    "TF_TensorByteSize": (c_size_t, [c_void_p]),
    "TF_TensorData": (c_void_p, [c_void_p]),
    "TF_StringCopy": (None, [c_void_p, c_char_p, c_size_t]),
    "TF_StringGetDataPointer": (c_void_p, [c_void_p]),
    "TF_StringGetSize": (c_size_t, [c_void_p]),
    "TF_StringDealloc": (None, [c_void_p]),
}


# glibc keeps freed memory for later use; this returns it to the system. Other C libraries have no such function.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def trim_memory() -> None:
    """Return freed memory to the system now, if the C library has a function for it."""
    if _trim:
        _trim(0)


@functools.cache
def library() -> SimpleNamespace:
    """Return the C API's functions by their names.

    Raises ImportError when the library is missing, or lacks a function.
    """
    path = _path()
    functions = SimpleNamespace()
    try:
        for kind, table in ((ctypes.CDLL, _LONG), (ctypes.PyDLL, _SHORT)):
            loaded = kind(str(path))
            for name, (result, arguments) in table.items():
                function = getattr(loaded, name)
                function.restype, function.argtypes = result, arguments
                setattr(functions, name, function)
    except (OSError, AttributeError) as error:
        raise ImportError(f"{path} is not the TensorFlow library this server was made for (2.x): {error}") from error
    return functions


def _path() -> Path:
    path = protos.installed_in() / ("libtensorflow_cc.2.dylib" if sys.platform == "darwin" else "libtensorflow_cc.so.2")
    if not path.is_file():
        raise ImportError(f"{path} is missing: install tensorflow or tensorflow-cpu 2.x as a wheel from PyPI")
    return path
