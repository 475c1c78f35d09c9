"""The embedded model server: TensorFlow Serving's wire twin, for machines where the C++ binary cannot be had.

    servicers   the gRPC door: bytes in, bytes out, one place that turns an error into a status
    predict     what Predict means, given a loaded model: aliases, dtypes, output_filter
    tensors     TensorProto <-> numpy
    repository  which versions of which models are loaded, and the change from one set to the next
    runtime     one SavedModel in memory, and running it
    warmup      the records a version is exercised with before it goes live
    config      the ModelServerConfig file
    options     the flags
    server      puts it together

The upper four never touch the file system, the lower ones never see a request; `runtime.Model.run` is the seam where
batching goes in.
"""
