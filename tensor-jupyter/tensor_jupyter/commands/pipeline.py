"""`lab pipeline`: from data to a tested, served model in one command, or one step of it."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tensor_jupyter.commands.console import err, errors_in_one_line, out, print_json
from tensor_jupyter.commands.model_kit import mark
from tensor_jupyter.commands.run_flags import setting_flags
from tensor_jupyter.errors import LabError
from tensor_jupyter.pipeline import containers
from tensor_jupyter.pipeline.argo import Target
from tensor_jupyter.pipeline.containers import Images
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.pipeline.steps import LAST, NAMES, STEPS, named
from tensor_jupyter.settings import Settings

if TYPE_CHECKING:
    from tensor_jupyter.pipeline.runner import Plan, Result

_EXAMPLES = """Examples:

  lab pipeline run                                everything that has changed since the last run

  lab pipeline run --dry-run --network dnn        which steps would run, and why

  LEARNING_RATE=0.001 lab pipeline run --from train-classifier

  lab pipeline watch --corrections 20             again whenever 20 corrections from the page wait

Exit codes of run: 0 promoted, 1 a step failed, 3 the gate refused the models.
"""
_PANEL = "Parameters"

Config = Annotated[
    Path | None, typer.Option(help="Parameters by name in YAML, TOML or JSON; else pipeline.yaml if it is there.")
]

app = typer.Typer(
    help="The pipeline: gather, train, export, evaluate, deploy, test, promote.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
)


@app.command()
@setting_flags(Parameters, "pipeline", _PANEL)
def run(
    config: Config = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Run this step and those after it, changed or not.", metavar="STEP")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Run this step alone, changed or not.", metavar="STEP")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print which steps would run, and why.")] = False,
    engine: Annotated[
        Literal["local", "docker"],
        typer.Option(help="docker: run each step in a container of its image, with the folders of this lab."),
    ] = "local",
    images: Annotated[str, typer.Option(help="With docker: the prefix of the images' names.")] = Target.images,
    tag: Annotated[str, typer.Option(help="With docker: the images' tag.")] = Target.tag,
    *,
    flags: dict[str, object],
) -> None:
    """Run every step whose inputs, parameters or outputs have changed; branches run in parallel.

    The candidate becomes `stable` if every check passes. Else it is removed, and the versions served before stay.
    """
    with errors_in_one_line():
        from tensor_jupyter.pipeline import runner

        parameters, settings = Parameters.read(config, **flags), Settings.read()
        plan = runner.Plan.of(start, only)
        if dry_run:
            for name, reason in runner.explain(plan, parameters, settings).items():
                out.print(f"{name:18} {f'would run: {reason}' if reason else 'unchanged'}")
            return
        code = _run(plan, parameters, settings, Images(images, tag) if engine == "docker" else None)
        if code:
            sys.exit(code)


@app.command()
@setting_flags(Parameters, "pipeline", _PANEL)
def watch(
    config: Config = None,
    count: Annotated[
        int, typer.Option("--corrections", min=1, help="Run when this many corrections have not been trained with yet.")
    ] = 20,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two checks.")] = 30.0,
    once: Annotated[bool, typer.Option("--once", help="Check once, and exit with the run's exit code.")] = False,
    *,
    flags: dict[str, object],
) -> None:
    """Run the pipeline whenever people have corrected the model often enough on the page; until Ctrl-C.

    Corrections that a run has gathered are not counted again, whether its models were promoted or not.
    """
    with errors_in_one_line():
        from tensor_jupyter.pipeline import corrections, runner
        from tensor_jupyter.pipeline.execute import root_of

        parameters, settings = Parameters.read(config, **flags), Settings.read()
        printed = None
        while True:
            waiting = corrections.waiting(root_of(parameters, settings), parameters, settings)
            enough = waiting >= count
            line = f"{waiting} of {count} corrections wait{': running' if enough else ''}"
            if line != printed:
                err.print(f"{time.strftime('%H:%M:%S')}  {line}")
            printed = None if enough else line
            code = _attempt(runner.Plan(), parameters, settings, once) if enough else 0
            if once:
                sys.exit(code)
            time.sleep(every)


@app.command()
@setting_flags(Parameters, "pipeline", _PANEL)
def step(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}.", metavar="STEP")],
    config: Config = None,
    again: Annotated[bool, typer.Option("--again", help="Run it even if nothing has changed.")] = False,
    *,
    flags: dict[str, object],
) -> None:
    """Run one step, as the runner and Argo do; prints "unchanged" where its stamp holds."""
    with errors_in_one_line():
        from tensor_jupyter.pipeline import runner
        from tensor_jupyter.pipeline.execute import execute

        parameters, settings = Parameters.read(config, **flags), Settings.read()
        ran = execute(named(name), parameters, settings, out.print, again)
        out.print("done" if ran else "unchanged")
        decided = runner.decision(parameters, settings) if name == LAST else None
        if decided and not decided["promoted"]:
            sys.exit(runner.REFUSED)


@app.command("steps")
def list_steps(
    json: Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")] = False,
) -> None:
    """List the steps: what each does, and which it needs."""
    if json:
        print_json({"steps": [{"name": each.name, "does": each.does, "needs": each.needs} for each in STEPS]})
        return
    for each in STEPS:
        needs = f" After {', '.join(each.needs)}." if each.needs else ""
        out.print(f"{each.name:18} {each.does}{needs}")


@app.command()
@setting_flags(Parameters, "pipeline", _PANEL)
def argo(
    folder: Annotated[Path, typer.Argument(help="Where the manifests are written.", metavar="FOLDER")] = Path("argo"),
    config: Config = None,
    images: Annotated[str, typer.Option(help="The prefix of the images' names.")] = Target.images,
    tag: Annotated[str, typer.Option(help="The images' tag.")] = Target.tag,
    rest_url: Annotated[str, typer.Option(help="The gateway, as a pod reaches it.")] = Target.rest_url,
    schedule: Annotated[str, typer.Option(help="When the CronWorkflow runs, in cron's form.")] = Target.schedule,
    storage: Annotated[str, typer.Option(help="The size of each volume.")] = Target.storage,
    *,
    flags: dict[str, object],
) -> None:
    """Write the same steps as manifests for Argo Workflows: volumes, access, Workflow and CronWorkflow.

    lab pipeline argo manifests --images registry.example/lab --epochs 12 --mnist-data-dir /data/digits

    kubectl apply -f manifests/volumes.yaml -f manifests/access.yaml && kubectl create -f manifests/workflow.yaml
    """
    with errors_in_one_line():
        import yaml

        from tensor_jupyter.pipeline.argo import ARGO_VERSIONS, manifests

        parameters = Parameters.read_for_remote_run(config, **flags)
        found = manifests(parameters, Target(images, tag, rest_url, schedule, storage))
        folder.mkdir(parents=True, exist_ok=True)
        head = f"# Written by `lab pipeline argo` for Argo Workflows {ARGO_VERSIONS}.\n"
        for name, documents in found.items():
            (folder / name).write_text(head + yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
            out.print(str(folder / name))


def _run(plan: "Plan", parameters: Parameters, settings: Settings, images: Images | None = None) -> int:
    """Run the plan, print the results, and return the exit code. Raises LabError if no lab or docker answers."""
    from tensor_jupyter.pipeline import runner
    from tensor_jupyter.publishing import served

    if images:
        containers.check()
    if plan.is_live:
        served.fetch(settings)  # raises before hours of training
    wide = max(map(len, NAMES))

    def print_line(name: str, line: str) -> None:
        err.print(f"{name:{wide}}  {line}")

    results = runner.Run(plan, parameters, settings, print_line, images).start()
    decided = runner.decision(parameters, settings) if LAST in plan.chosen else None
    code = runner.code_of([*results.values()], decided)
    _print_summary([*results.values()], decided if code != runner.FAILED else None)
    page = _page([*results.values()], parameters, settings)
    if page:
        out.print(f"Page of the run: {page}")
    return code


def _attempt(plan: "Plan", parameters: Parameters, settings: Settings, once: bool) -> int:
    """Run the plan for `watch` and return the exit code; unless `once`, an error is printed and the watch continues."""
    try:
        return _run(plan, parameters, settings)
    except LabError as error:
        if once:
            raise
        err.print(str(error))
        return 1


def _page(results: "list[Result]", parameters: Parameters, settings: Settings) -> Path | None:
    """The run's page, which the steps write; it is written here if a step was killed, or the page was deleted."""
    from tensor_jupyter.pages import run as pages

    failed = next((each for each in results if each.state == "failed" and each.step in pages.REPORTED), None)
    page = pages.page_of(parameters, settings)
    if page and not failed and page.is_file():
        return page
    return pages.write_page(parameters, settings, pages.Failure(failed.step, failed.last) if failed else None)


def _print_summary(results: "list[Result]", decided: dict[str, Any] | None) -> None:
    for result in results:
        duration = f"{result.seconds:7.1f} s" if result.state != "not run" else " " * 9
        out.print(
            f"{result.step:18} {result.state:10} {duration}  {result.last if result.state == 'failed' else ''}".rstrip()
        )
    if decided is None:
        return
    for check in decided["checks"]:
        out.print(f"{mark(check['passed'])} {check['message']}")
    classifier, concept = decided["classifier"], decided["concept"]
    names = f"{classifier['name']} {classifier['version']} and {concept['name']} {concept['version']}"
    if decided["promoted"]:
        out.print(f"Promoted: {names} are stable.")
    else:
        out.print(f"Refused: {names} are not promoted; the versions served before stay.")
