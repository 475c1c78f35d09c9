"""Run one step: under its lock, into a staging folder, which gets a stamp and is then moved to its place by a rename.

<LAB_DATA>/pipeline/<model>/<step>/            what the step wrote, with its stamp
<LAB_DATA>/pipeline/<model>/.staging/<step>.*  what a running step writes; the next run removes what a killed one left
<LAB_DATA>/pipeline/<model>/.locks/<step>      held by the process that runs the step
"""

import contextlib
import fcntl
import importlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from tensor_jupyter.context import make_shared, share
from tensor_jupyter.errors import LabError
from tensor_jupyter.pipeline import stamps
from tensor_jupyter.pipeline.external import why_lost
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.pipeline.steps import Step
from tensor_jupyter.settings import Settings
from tensor_jupyter.typed import LAB


@dataclass(frozen=True)
class Job:
    """The argument of a step's body.

    root: the pipeline's folder, where inputs are read. folder: the staging folder, where outputs are written. run: the
    key of the stamp, which names this run of the step. say: prints a line for the user.
    """

    parameters: Parameters
    settings: Settings
    root: Path
    folder: Path
    run: str
    say: Callable[[str], object]

    def read(self, path: str) -> dict[str, Any]:
        """Return the JSON document of an input, `<step>/<file>`."""
        found: dict[str, Any] = json.loads((self.root / path).read_text(encoding="utf-8"))
        return found

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Write a JSON document as an output."""
        (self.folder / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def root_of(parameters: Parameters, settings: Settings) -> Path:
    """Return the folder of this model's pipeline."""
    return settings.data / "pipeline" / parameters.model


def why_run(step: Step, parameters: Parameters, settings: Settings) -> str:
    """Return why the step has to run, "" if it need not: by its stamp, then by what it left in the lab."""
    root = root_of(parameters, settings)
    return stamps.why_stale(step, parameters, root) or why_lost(step, root, parameters, settings)


def execute(
    step: Step, parameters: Parameters, settings: Settings, say: Callable[[str], object], again: bool = False
) -> bool:
    """Run the step if `why_run` has a reason to.

    Args:
        step: A step of the table.
        parameters: The parameters of all steps.
        settings: The lab's folders and addresses.
        say: Called with each line about the progress.
        again: Run the step even without a reason.

    Returns:
        Whether the step ran.

    Raises:
        LabError: When an input is missing. A step that fails raises its own error. Its folder is unchanged then.
    """
    try:
        ran = _executed(step, parameters, settings, say, again)
    except Exception as error:
        _write_page(step, parameters, settings, say, str(error) or type(error).__name__)
        raise
    if ran:
        _write_page(step, parameters, settings, say)
    return ran


def _executed(
    step: Step, parameters: Parameters, settings: Settings, say: Callable[[str], object], again: bool
) -> bool:
    root = root_of(parameters, settings)
    make_shared(root / ".locks")
    with _alone(root / ".locks" / step.name, say):
        reason = "it was requested explicitly" if again else why_run(step, parameters, settings)
        if not reason:
            return False
        say(reason)
        missing = next((path for path in step.inputs if not (root / path).exists()), None)
        if missing:
            first = missing.partition("/")[0]
            raise LabError(f"{step.name} needs {missing}, which is not there: run `{LAB} pipeline run --only {first}`.")
        with _staging(root, step) as folder:
            stamp = stamps.expected(step, parameters, root)
            _body(step)(Job(parameters, settings, root, folder, stamp.key, say))
            outputs = {name: stamps.digest(folder / name) for name in step.outputs}
            replace(stamp, outputs=outputs).write(folder)
            for path in (folder, *folder.rglob("*")):  # so that another user of the group can replace it
                share(path, like=root)
            _put_in_place(folder, root / step.name)
    return True


def _write_page(
    step: Step, parameters: Parameters, settings: Settings, say: Callable[[str], object], problem: str = ""
) -> None:
    """Write the run's page after the steps that add to it, and after one that failed. Never raises."""
    from tensor_jupyter.pages import run as pages

    if step.name not in pages.REPORTED:
        return
    try:
        pages.write_page(parameters, settings, pages.Failure(step.name, problem) if problem else None)
    except Exception as error:  # noqa: BLE001 - the step's results are valid without a page
        say(f"the run's page could not be written: {error!r}")


def _body(step: Step) -> Callable[[Job], None]:
    """The function that does the step: for train-classifier run_classifier in train, for evaluate run in evaluate."""
    module, _, what = step.name.partition("-")
    found = importlib.import_module(f"tensor_jupyter.pipeline.bodies.{module}")
    return cast(Callable[[Job], None], getattr(found, f"run_{what}" if what else "run"))


@contextlib.contextmanager
def _alone(path: Path, say: Callable[[str], object]) -> Iterator[None]:
    """Hold the step's lock; the kernel releases it when the process ends, for whatever reason."""
    with path.open("w") as lock:
        share(path)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process runs this step: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _staging(root: Path, step: Step) -> Iterator[Path]:
    """A new staging folder; what a killed run of the same step left there is removed first."""
    area = root / ".staging"
    make_shared(area)
    for left in area.glob(f"{step.name}.*"):
        shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(dir=area, prefix=f"{step.name}."))
    folder.chmod(folder.stat().st_mode | 0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(folder: Path, target: Path) -> None:
    """Move the folder to its place. If killed between the two renames, the step counts as not run."""
    if target.exists():
        target.rename(folder.with_name(f"{folder.name}.old"))
    folder.rename(target)
    shutil.rmtree(folder.with_name(f"{folder.name}.old"), ignore_errors=True)
