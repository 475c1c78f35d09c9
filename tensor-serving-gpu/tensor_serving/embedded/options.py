"""The flags, under TensorFlow Serving's names. Its flags that are not listed here are refused, not ignored."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn


@dataclass(frozen=True)
class Options:
    """How to serve; each field is the flag of that name. Defaults are TF Serving's unless `HELP` names another."""

    port: int = 8500
    bind_address: str = "127.0.0.1"
    grpc_socket_path: Path | None = None
    ssl_config_file: Path | None = None
    direct_port: int = 0
    direct_key_file: Path | None = None
    grpc_max_threads: int = 4 * len(os.sched_getaffinity(0))
    rest_api_port: int = 0
    rest_api_timeout_in_ms: int = 30_000
    monitoring_config_file: Path | None = None
    model_name: str = "default"
    model_base_path: Path | None = None
    model_config_file: Path | None = None
    model_config_file_poll_wait_seconds: int = 0
    load_record_file: Path | None = None
    file_system_poll_wait_seconds: int = 1
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    enable_model_warmup: bool = True
    enable_batching: bool = False
    batching_parameters_file: Path | None = None
    enable_per_model_batching_parameters: bool = False
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0


HELP = {
    "port": "port of the gRPC API; 0 takes a free one, which is logged (TF Serving: no gRPC)",
    "bind_address": "address to listen on; ours, TF Serving always listens on all",
    "grpc_socket_path": "also serve gRPC on this Unix socket",
    "ssl_config_file": "SSLConfig in text form: serve gRPC over TLS with its server_key, server_cert, custom_ca",
    "direct_port": "ours: port on which clients with a token of the gateway get predictions; 0 for none",
    "direct_key_file": "ours: file with the key of the tokens for --direct_port, the same as the gateway's "
    "TENSOR_REST_ROUTE_KEY_FILE",
    "grpc_max_threads": "calls run at the same time without batching, 4 for each core if not given; more wait, "
    "where TF Serving refuses them",
    "rest_api_port": "port of the REST API, 0 for none",
    "rest_api_timeout_in_ms": "milliseconds a REST call may take",
    "monitoring_config_file": "MonitoringConfig in text form: serve metrics for Prometheus on the REST port",
    "model_name": "name of the model, with --model_base_path",
    "model_base_path": "folder with the versions of the one model to serve, the newest of which is served",
    "model_config_file": "ModelServerConfig in text form; wins over --model_name and --model_base_path",
    "model_config_file_poll_wait_seconds": "seconds between reads of the model config file, 0 to read it once",
    "load_record_file": "ours: each load is recorded here, so that a version that ends the server is not loaded again",
    "file_system_poll_wait_seconds": "seconds between scans for new versions, 0 to scan once",
    "max_num_load_retries": "times a failed load is tried again",
    "load_retry_interval_micros": "microseconds before a failed load is tried again",
    "enable_model_warmup": "replay a version's warm-up records, assets.extra/tf_serving_warmup_requests, before it "
    "becomes available",
    "enable_batching": "run calls that arrive at the same time in one batch; `run` and the lab switch it on",
    "batching_parameters_file": "BatchingParameters in text form, with --enable_batching; the lab's are in "
    "tensor_serving/batching_parameters.pbtxt",
    "enable_per_model_batching_parameters": "take the batching parameters from batching_params.pbtxt in the "
    "version folder, if it has one",
    "tensorflow_intra_op_parallelism": "threads inside one TensorFlow operation, 0 for one a core; 1 costs least CPU "
    "for small models",
    "tensorflow_inter_op_parallelism": "threads for a graph's operations; 0 and 1 run them in the call's own thread, "
    "others in a pool of that size",
}
"""What each flag means, without its default; the README's table is made from it."""

_MINIMUMS = {"grpc_max_threads": 1, "rest_api_timeout_in_ms": 1}


def parse(arguments: list[str]) -> Options:
    """Return the options; on wrong usage print what was wrong and what is valid, and exit with 2."""
    prog = "python -m tensor_serving serve"
    parser = argparse.ArgumentParser(prog=prog, usage=f"{prog} --FLAG=VALUE ...", allow_abbrev=False)
    for field in fields(Options):
        default, text = field.default, f"{HELP[field.name]} (default: {field.default})"
        if isinstance(default, bool):  # without a value it means true, as in TF Serving
            parser.add_argument(
                f"--{field.name}", type=_truth, nargs="?", const=True, default=default, metavar="BOOL", help=text
            )
            continue
        kind: Callable[[str], object] = str
        if isinstance(default, int):
            kind = _at_least(_MINIMUMS.get(field.name, 0))
        elif default is None:
            kind = _path
        parser.add_argument(f"--{field.name}", type=kind, default=default, metavar="VALUE", help=text)
    parser.add_argument(
        "--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="print versions and exit"
    )
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        valid = ", ".join(f"--{name}" for name in (*HELP, "version"))
        parser.error(f"unknown flag {unknown[0]}; valid flags are {valid}")
    options = Options(**vars(given))
    if problem := _problem(options):
        parser.error(problem)
    return options


def _problem(options: Options) -> str:
    """Return what is wrong with the flags taken together; empty when nothing is."""
    for name in ("port", "rest_api_port", "direct_port"):
        if (number := getattr(options, name)) > 65535:
            return f"--{name}={number}: a port is at most 65535"
    if not options.bind_address:  # to the system it would mean all addresses
        return "--bind_address is empty (expected an address; 0.0.0.0 listens on all)"
    if options.port and options.port == options.rest_api_port:
        return f"--port and --rest_api_port are both {options.port}: they must differ"
    if bool(options.direct_port) != bool(options.direct_key_file):
        return "--direct_port and --direct_key_file go together"
    if options.direct_port and options.ssl_config_file:
        return "--direct_port is without TLS, and not served beside --ssl_config_file"
    if options.direct_port and options.direct_port in (options.port, options.rest_api_port):
        return f"--direct_port={options.direct_port} is another API's port: they must differ"
    if options.batching_parameters_file and not options.enable_batching:
        return "You supplied --batching_parameters_file without --enable_batching"
    if options.enable_per_model_batching_parameters and not options.enable_batching:
        return "You supplied --enable_per_model_batching_parameters without --enable_batching"
    if options.monitoring_config_file and not options.rest_api_port:
        return "--monitoring_config_file needs --rest_api_port: metrics are served there"
    if not (options.model_config_file or options.model_base_path):
        return "nothing to serve: give --model_config_file, or --model_base_path with --model_name"
    return ""


def _path(text: str) -> Path | None:
    return Path(text) if text else None  # `--ssl_config_file=` means not given, as in TF Serving


def _truth(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false") from None


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    number.__name__ = "number"  # argparse's message has this name when the text is not a number
    return number


class _Version(argparse.Action):
    """Print the versions, as TF Serving does, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        names = metadata.packages_distributions().get("tensorflow", [])  # tensorflow-cpu and others
        tensorflow = _installed(names[0]) if names else "not found"
        sys.stdout.write(
            f"TensorFlow ModelServer: embedded, API {_installed('tensorflow-serving-api')}\n"
            f"TensorFlow Library: {tensorflow}\n"
        )
        parser.exit()


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
