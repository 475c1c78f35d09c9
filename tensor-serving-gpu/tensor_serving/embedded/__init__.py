"""The embedded model server: TensorFlow Serving's APIs where its C++ binary is not available.

The APIs: bytes in, bytes out; each has one place that turns an error into a status.
    transport               HTTP/2, for gRPC without TLS
    servicers, health       gRPC
    direct                  tokens of clients that call without the gateway
    rest                    HTTP and JSON

Translating a request into a run of a loaded model: pure functions, no waiting, no files.
    predict, classify, regress, inference (with examples: tf.Example)
    tensors, dtypes         TensorProto <-> numpy
    call                    one run of the graph; every request is translated into one

Running a model.
    execution, batching     what runs the graph, in which thread, alone or in a batch (with batch, batch_queue)
    independence            whether the requests of a version may be batched
    runtime, freezing       one SavedModel in memory, its weights as constants
    native                  TensorFlow's C API
    protos                  TensorFlow's messages without TensorFlow

Loading models.
    repository, servable    which versions of which models are loaded, and the change from one set to the next
    warmup, tfrecord        the records that are replayed before a version becomes AVAILABLE
    crash                   what a crash leaves behind for the next start
    engine                  keeps the repository in step with the config file and the folders
    config, options         the ModelServerConfig file, the flags (with batching_parameters, tls; read by textproto)

    server                  the process: puts all of this together
    metrics, errors         used by all of them
"""

from tensor_serving.embedded import protos

protos.stand_in()  # before any other module imports a message class
