"""A stand-in for TensorFlow Serving's binary: the embedded server with the C++ server's ways at start and stop.

    python tensor-serving-gpu/tests/tfs_stand_in.py --port=8500 --rest_api_port=8501 --model_config_file=FILE

As TensorFlow Serving 2.20 does, it

- opens its ports only when every model has a version loaded, and logs each load in TensorFlow Serving's words,
- waits for each model's newest version that is AVAILABLE or END; where that one is END with an error it exits with 255
  and the reason on stdout, even if an older version would load,
- answers NOT_FOUND at once for what its list does not name,
- ends at once when it gets TERM, with calls under way cut off.
"""

import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from tensor_serving.embedded import engine as engine_module
from tensor_serving.embedded import server
from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.options import Options, parse
from tensor_serving.embedded.servable import State
from tensor_serving.environment import set_environment

_KNOWN = (
    *("port", "rest_api_port", "model_config_file", "model_config_file_poll_wait_seconds"),
    *("file_system_poll_wait_seconds", "max_num_load_retries"),
)
_POLL_S = 0.01


def install(folder: Path) -> Path:
    """Write it as `tensorflow_model_server` into this folder, which is to be put on the PATH; return the program."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "tensorflow_model_server"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).absolute()} "$@"\n')
    program.chmod(0o755)
    return program


_LINES = {
    "%s: loading": "I tensorflow_serving/core/loader_harness.cc:71] Loading servable version {id}",
    "%s: available": "I tensorflow_serving/core/loader_harness.cc:95] Successfully loaded servable version {id}",
    "%s: failed": "E tensorflow_serving/util/retrier.cc:37] Loading servable: {id} failed: {text}",
    "%s: unloaded": "I tensorflow_serving/core/loader_harness.cc:127] Done unloading servable version {id}",
}


class _Log(logging.Handler):
    """Writes what the embedded server logs of a servable as TensorFlow Serving would."""

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args if isinstance(record.args, tuple) else ()
        for begin, line in _LINES.items():
            if str(record.msg).startswith(begin):
                servable: Any = arguments[0]
                name = "{name: " + servable.name + " version: " + str(servable.version) + "}"
                text = line.format(id=name, text=arguments[-1])
                sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}.000000: {text}\n")
                sys.stderr.flush()


def _until_loaded(engine: engine_module.Engine, options: Options) -> None:
    """Wait until every model has a version available; exit with 255 over one whose newest version failed."""
    names: set[str] = set()
    while not names and "config {" in Path(options.model_config_file or "").read_text():
        time.sleep(_POLL_S)
        names = engine.repository.names()
    failures = []
    for name in sorted(names):
        while not (decided := _decided(engine, name)):
            time.sleep(_POLL_S)
        if decided.failure:
            what = f"{{name: {name} version: {decided.version}}} due to error: "
            failures.append("{{" + what + f"{decided.failure.code.name}: {decided.failure.text}" + "}, ")
    if failures:
        text = f"UNKNOWN: {len(failures)} servable(s) did not become available: {{{''.join(failures)}}}"
        sys.stdout.write(f"Failed to start server. Error: {text}\n")
        sys.stdout.flush()
        os._exit(255)


def _decided(engine: engine_module.Engine, name: str) -> Any:
    """Return the newest version that is AVAILABLE or END."""
    try:
        known = engine.repository.status(name)
    except ServingError:  # none found yet
        return None
    return next((each for each in known if each.state in (State.AVAILABLE, State.END)), None)


def main(arguments: list[str]) -> int:
    """Serve like TensorFlow Serving's binary with these flags."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    set_environment()
    logger = logging.getLogger("tensor_serving")
    logger.setLevel(logging.INFO)
    logger.addHandler(_Log())
    options = parse([flag for flag in arguments if flag.lstrip("-").partition("=")[0] in _KNOWN])
    engine = engine_module.Engine(options)
    engine.start()
    _until_loaded(engine, options)
    started = SimpleNamespace(**vars(engine), start=lambda: None, reload=engine.reload, close=engine.close)
    engine_module.Engine = lambda _options: started  # type: ignore[assignment, misc]
    server._Server._stop = lambda _self, _number: _end()  # type: ignore[method-assign, assignment]
    return server.serve(options)


def _end() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
