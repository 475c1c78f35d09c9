"""The embedded model server: TensorFlow Serving's APIs where its C++ binary cannot be had.

The APIs: bytes in, bytes out, one place each that turns an error into a status.
    transport               HTTP/2, for gRPC without TLS
    servicers, health       gRPC
    rest                    HTTP and JSON

What a request means for a loaded model: pure functions, no waiting, no files.
    predict, classify, regress, inference (with examples: tf.Example)
    tensors, dtypes         TensorProto <-> numpy
    call                    what each request comes down to: one run of the graph

Running it.
    execution, batching     what runs the graph, in which thread, alone or in a batch (with batch, batch_queue)
    runtime, freezing       one SavedModel in memory, its weights as constants
    native                  TensorFlow's C API
    protos                  TensorFlow's messages without TensorFlow

What is loaded.
    repository, servable    which versions of which models, and the change from one set to the next
    warmup, tfrecord        the records a version is exercised with before it goes live
    crash                   what a crash leaves behind for the next start
    engine                  keeps that in step with the config file and the folders
    config, options         the ModelServerConfig file, the flags (with batching_parameters, tls; read by textproto)

    server                  the process: puts it together
    metrics, errors         what all of them count and raise
"""

from tensor_serving.embedded import protos

protos.stand_in()  # before any other module imports a message class
