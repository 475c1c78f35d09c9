"""TensorFlow's C API, as far as a model server needs it: graphs are run without TensorFlow's Python package.

    library   finds, loads and declares the shared library that comes with the package
    tensors   numpy array <-> TF_Tensor
    session   a SavedModel loaded, run and closed

Only this folder handles pointers.
"""
