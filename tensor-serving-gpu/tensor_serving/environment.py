"""Environment variables that TensorFlow and gRPC read once, when they are loaded or first used."""

import os
import platform


def set_environment() -> None:
    """Set the values that the embedded model server needs, except where the user has set one.

    Call it only in a process that is a model server and nothing else, because child processes inherit the values, and
    before TensorFlow or gRPC is imported.
    """
    # Errors that matter arrive as exceptions and are logged as such.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # gRPC, which serves TLS, polls sockets the older way: the newer one hands every message from thread to thread.
    os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
    # oneDNN's own allocator never frees what an unloaded model used (200 MB for a model of 100 MB) and is no faster.
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "true")
    if platform.machine() in ("x86_64", "AMD64"):
        # TensorFlow disables oneDNN on processors without AVX-512. Frozen models are faster with it there as well.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
