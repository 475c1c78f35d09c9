"""Run all steps with doit: in the order of their needs, branches in parallel, each in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain
from doit.reporter import ZeroReporter

from tensor_jupyter.errors import LabError
from tensor_jupyter.pipeline.containers import Images, command
from tensor_jupyter.pipeline.execute import root_of, why_run
from tensor_jupyter.pipeline.parameters import Parameters, variables
from tensor_jupyter.pipeline.steps import LAST, NAMES, STEPS, Step, after, named
from tensor_jupyter.settings import Settings

PROMOTED, FAILED, REFUSED = 0, 1, 3
"""Exit codes of a run."""


@dataclass
class Result:
    """The outcome of a step. state: done, unchanged, failed, or not run. last: the last line that it printed."""

    step: str
    state: str = "not run"
    seconds: float = 0.0
    last: str = ""


@dataclass
class Plan:
    """Which steps to run, and which of them even if their stamps hold."""

    chosen: tuple[str, ...] = NAMES
    again: frozenset[str] = frozenset()

    @classmethod
    def of(cls, start: str | None, only: str | None) -> "Plan":
        """Return the plan for `--from` and `--only`. Raises LabError for an unknown step, or both."""
        if start and only:
            raise LabError("Give --from or --only, not both.")
        if only:
            return cls((named(only).name,), frozenset({only}))
        return cls(again=frozenset(after(start))) if start else cls()

    @property
    def is_live(self) -> bool:
        """Whether a step calls the lab."""
        return any(step.live for step in STEPS if step.name in self.chosen)


def explain(plan: Plan, parameters: Parameters, settings: Settings) -> dict[str, str]:
    """Return why each step of the plan would run, "" for one that would not."""
    reasons: dict[str, str] = {}
    for step in STEPS:
        if step.name not in plan.chosen:
            continue
        before = [need for need in step.needs if reasons.get(need)]
        own = "it was requested explicitly" if step.name in plan.again else why_run(step, parameters, settings)
        reasons[step.name] = own or (f"{', '.join(before)} would run" if before else "")
    return reasons


@dataclass
class Run:
    """One run of a plan.

    say: called with a step's name and a line that it printed. images: run each step in a container of its image; None:
    in a process of this Python.
    """

    plan: Plan
    parameters: Parameters
    settings: Settings
    say: Callable[[str, str], object]
    images: Images | None = None
    results: dict[str, Result] = field(default_factory=dict)
    _file: Path = field(init=False)

    def start(self, processes: int = 2) -> dict[str, Result]:
        """Run the steps, at most `processes` at once; return the results by name. Steps after a failure do not run."""
        self.results = {name: Result(name) for name in self.plan.chosen}
        tasks = {"task_pipeline": self._tasks}
        with tempfile.TemporaryDirectory() as folder:  # doit's database is not kept: stamps decide
            self._file = Path(folder) / "parameters.json"
            self._file.write_text(self.parameters.model_dump_json(), encoding="utf-8")
            tasks["DOIT_CONFIG"] = {  # type: ignore[assignment]
                "backend": "json",
                "dep_file": str(Path(folder) / "doit.json"),
                "reporter": ZeroReporter,
                "continue": True,
                "num_process": processes,
                "par_type": "thread",
                "verbosity": 0,
            }
            DoitMain(ModuleTaskLoader(tasks), config_filenames=()).run(["run"])
        return self.results

    def _tasks(self) -> Iterator[dict[str, Any]]:
        for step in STEPS:
            if step.name in self.plan.chosen:
                needs = [f"pipeline:{need}" for need in step.needs if need in self.plan.chosen]
                # Not captured: that would replace sys.stdout for all threads.
                task = {"name": step.name, "actions": [(self._step, [step])], "io": {"capture": False}}
                yield {**task, "task_dep": needs}

    def _step(self, step: Step) -> bool:
        """Run a step's command, and forward its lines to `say`."""
        result, begin = self.results[step.name], time.monotonic()
        if step.name not in self.plan.again and not why_run(step, self.parameters, self.settings):
            result.state = "unchanged"
            return True
        result.state = "failed"
        words = [sys.executable, "-m", "tensor_jupyter", *step.command[1:], "--config", str(self._file)]
        if self.images:
            words = command(step, self.images, self.parameters, self.settings)
        if step.name in self.plan.again:
            words.append("--again")
        with subprocess.Popen(
            words,
            env=environment(self.settings, os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            for line in process.stdout or ():
                result.last = line.rstrip()
                self.say(step.name, result.last)
        result.seconds = time.monotonic() - begin
        if process.returncode < 0:
            result.last = f"the process was terminated by signal {-process.returncode}"
        if process.returncode in (PROMOTED, REFUSED):
            # A library may print after the step's own last line. Unchanged: another process has just run it.
            result.state = "unchanged" if result.last == "unchanged" else "done"
        return result.state != "failed"


def environment(settings: Settings, given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a step's process: the `given` ones without those of parameters, and the lab's folders.

    The step reads its parameters from a file, in which also those are that have no value.
    """
    taken = {variable for variable, _ in variables()}
    kept = {name: value for name, value in given.items() if name not in taken}
    folders = {
        f"LAB_{name.upper()}": str(getattr(settings, name).absolute())
        for name in ("models", "logs", "data", "feedback")
    }
    return {**kept, **folders, "PYTHONUNBUFFERED": "1"}


def decision(parameters: Parameters, settings: Settings) -> dict[str, Any] | None:
    """Return the gate's last decision, None if there is none."""
    try:
        found = json.loads((root_of(parameters, settings) / LAST / "decision.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def code_of(results: Sequence[Result], decided: dict[str, Any] | None) -> int:
    """Return the exit code of a run."""
    if any(result.state not in ("done", "unchanged") for result in results):
        return FAILED
    if any(result.step == LAST for result in results) and decided and not decided["promoted"]:
        return REFUSED
    return PROMOTED
