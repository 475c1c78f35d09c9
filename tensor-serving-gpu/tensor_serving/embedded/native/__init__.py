"""TensorFlow's C API, as far as a model server needs it: its graphs are run without its Python package.

    library   the shared library that comes with the package, found, loaded and declared
    tensors   numpy array <-> TF_Tensor
    session   a SavedModel loaded, run and closed

Nothing outside this folder holds a pointer.
"""
