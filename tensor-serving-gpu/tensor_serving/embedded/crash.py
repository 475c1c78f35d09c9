"""How the server's process before this one ended, if it crashed: the record of loads then says because of what."""

import faulthandler
import logging
from pathlib import Path

from tensor_serving.load_record import LoadRecord

log = logging.getLogger(__name__)

_FATAL = "Fatal Python error: "  # what faulthandler begins with
_MAX_CHARS = 10_000


def open_record(path: Path | None) -> LoadRecord:
    """Return the record of loads with its last crash worked out; from now on a crash of this process leaves a trace.

    The trace lies beside the record. A signal handler writes it, of SIGSEGV, SIGFPE, SIGABRT, SIGBUS and SIGILL; a
    process that is killed leaves none.
    """
    record = LoadRecord(path)
    if not path:
        return record
    trace = path.with_suffix(".trace")
    try:
        text = trace.read_text(encoding="utf-8", errors="replace")[:_MAX_CHARS] if trace.exists() else ""
        crashed = text.startswith(_FATAL)
        if crashed:
            log.error("the model server before this one crashed: %s", text.partition("Extension modules")[0].strip())
        record.server_crashed(text.splitlines()[0].removeprefix(_FATAL) if crashed else "killed", crashed)
        path.parent.mkdir(parents=True, exist_ok=True)
        faulthandler.enable(trace.open("w", encoding="utf-8"), all_threads=False)
    except OSError as error:
        log.error("%s cannot be used, a crash will leave no trace: %s", trace, error.strerror)
    return record
