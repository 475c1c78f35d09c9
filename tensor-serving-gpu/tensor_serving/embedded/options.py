"""The flags, by TensorFlow Serving's names. A flag of its that is not here is refused, not swallowed."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """How to serve. Seconds are whole, as in TF Serving; 0 threads leaves the number to TensorFlow."""

    port: int = 8500
    bind_address: str = "127.0.0.1"
    model_name: str = "default"
    model_base_path: Path | None = None
    model_config_file: Path | None = None
    model_config_file_poll_wait_seconds: int = 0
    file_system_poll_wait_seconds: int = 1
    grpc_max_threads: int = 16
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0


_HELP = {
    "port": "port of the gRPC API, 0 for a free one",
    "bind_address": "address to listen on; ours, TF Serving always listens on all",
    "model_name": "name of the model, with --model_base_path",
    "model_base_path": "folder with the versions of the one model to serve",
    "model_config_file": "ModelServerConfig in text form; wins over --model_name and --model_base_path",
    "model_config_file_poll_wait_seconds": "seconds between readings of it, 0 to read it once",
    "file_system_poll_wait_seconds": "seconds between looks for new versions, 0 to look once",
    "grpc_max_threads": "requests worked on at the same time",
    "tensorflow_intra_op_parallelism": "threads inside one TensorFlow operation",
    "tensorflow_inter_op_parallelism": "threads for a graph's operations; 0 and 1 run them in the request's own thread",
}


def parse(arguments: list[str]) -> Options:
    """Return the options; on wrong usage say what was wrong and what is valid, and exit with 2."""
    parser = argparse.ArgumentParser(prog="python -m tensor_serving serve", allow_abbrev=False)
    for name, text in _HELP.items():
        default = getattr(Options, name)
        least = 1 if name == "grpc_max_threads" else 0
        kind: Callable[[str], object] = _at_least(least) if isinstance(default, int) else str
        if name in ("model_base_path", "model_config_file"):
            kind = Path
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{text} (default: {default})")
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"unknown flag {unknown[0]}; valid flags are {', '.join(f'--{name}' for name in _HELP)}")
    options = Options(**vars(given))
    if options.port > 65535:
        parser.error(f"--port={options.port}: a port is at most 65535")
    if not (options.model_config_file or options.model_base_path):
        parser.error("nothing to serve: give --model_config_file, or --model_base_path with --model_name")
    return options


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    number.__name__ = "number"  # argparse names it when the text is no number at all
    return number
