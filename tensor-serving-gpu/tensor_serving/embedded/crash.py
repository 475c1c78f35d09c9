"""What a crash of this process leaves behind, and how the next process evaluates it.

Next to the record of loads are the table of running calls and a trace: the signal and the Python stack of the thread it
hit, written by a signal handler for SIGSEGV, SIGFPE, SIGABRT, SIGBUS and SIGILL. A killed process leaves no trace.
"""

import faulthandler
import logging
from pathlib import Path

from tensor_serving.load_record import LoadRecord
from tensor_serving.running_versions import Running, RunningVersions, read

log = logging.getLogger(__name__)

_FATAL = "Fatal Python error: "  # the start of faulthandler's output
_MAX_CHARS = 10_000


def open_record(path: Path | None) -> tuple[LoadRecord, RunningVersions, str]:
    """Return the record of loads including the last crash, the table for this process, and the crashing request.

    The crashing request is the id of the request whose call crashed the last process; "" unless that call was the only
    one running. It is also empty when the process was killed.

    Without a path, or if nothing can be written, record and table are kept in memory and a crash leaves no trace.
    """
    record = LoadRecord(path)
    if not path:
        return record, RunningVersions(None), ""
    trace, table = path.with_suffix(".trace"), path.with_suffix(".running")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        crashing_request = _work_out(record, _text(trace), read(table))
        faulthandler.enable(trace.open("w", encoding="utf-8"), all_threads=False)
        return record, RunningVersions(table), crashing_request
    except OSError as error:
        log.error("%s cannot be written, a crash will leave no trace: %s", error.filename or path, error.strerror)
        return record, RunningVersions(None), ""


def _text(trace: Path) -> str:
    """Return how the last process crashed, an empty string if it did not."""
    text = trace.read_text(encoding="utf-8", errors="replace")[:_MAX_CHARS] if trace.exists() else ""
    return text.partition("Extension modules:")[0].strip() if text.startswith(_FATAL) else ""


def _work_out(record: LoadRecord, text: str, running: list[Running]) -> str:
    if not text:
        record.server_crashed("Killed", by_itself=False)
        return ""
    how = text.splitlines()[0].removeprefix(_FATAL)
    folders = ", ".join(str(version.folder) for version in running)
    calls = f" while calls of {folders} were running" if running else ""
    log.error("the model server before this one crashed%s: %s", calls, text)
    # A crash in one of TensorFlow's own threads has no Python stack.
    in_load, in_call = " in _load\n" in text, " in run_now\n" in text
    if in_load or (record.loading() and not in_call):
        record.server_crashed(how, by_itself=True)
        return ""
    record.server_stopped()
    if len(running) != 1:
        return ""
    record.call_crashed(running[0].folder, how)
    return running[0].request_id
