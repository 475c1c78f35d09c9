"""What TensorFlow and gRPC read from the environment, once, when they are loaded or first used."""

import os
import platform


def set_environment() -> None:
    """Set what the embedded model server wants of them, except where the user has set it.

    For a process that is a model server and nothing else, before it imports either: the processes it starts inherit it.
    """
    # What matters of their output arrives as exceptions, and is logged as such.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # gRPC does TLS. Its older way of watching sockets: the newer one hands every message from thread to thread.
    os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
    # oneDNN's own allocator would never give back what an unloaded model has used: 200 MB for one of 100 MB, no faster.
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "true")
    if platform.machine() in ("x86_64", "AMD64"):
        # TensorFlow leaves oneDNN off where the processor has no AVX-512. Frozen models gain from it there as well.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
