"""`lab runs`: the runs that TensorBoard shows, listed and deleted; versions and runs of the pipeline side by side."""

import datetime
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tensor_jupyter.commands.console import check_sure, errors_in_one_line, out, print_json
from tensor_jupyter.commands.model_kit import Json, Model
from tensor_jupyter.context import checked_name
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

if TYPE_CHECKING:
    from tensor_jupyter.pages.compare import Fact

_EXAMPLES = """Examples:

  lab runs list

  lab runs compare mnist-net --html compared.html

  lab runs compare mnist-net/2 mnist-net/3 mnist-net/3f9a1c20

  lab runs delete mnist-net 3

  lab runs delete mnist-net --all --yes
"""

app = typer.Typer(
    help="Runs: list and delete those of TensorBoard; compare those of the pipeline, and versions.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
)


@app.command("list")
def list_runs(json: Json = False) -> None:
    """List the runs in LAB_LOGS, newest version first: size, last change, and whether the version is published."""
    with errors_in_one_line():
        settings = Settings.read()
        runs = [_about(path, settings) for path in _runs(settings.logs)]
        if json:
            print_json({"runs": runs})
            return
        wide = max((len(str(run["run"])) for run in runs), default=0)
        for run in runs:
            published = "published" if run["published"] else "not published"
            out.print(f"{run['run']:{wide}}  {run['bytes'] / 1e6:8.1f} MB  {run['changed']}  {published}")
        if not runs:
            out.print(f"No runs in {settings.logs}.")


@app.command()
def delete(
    model: Model,
    version: Annotated[int | None, typer.Argument(min=1, help="The run of this version.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every run of the model; asks first.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a run, or with --all every run of a model. Published versions stay as they are."""
    if (version is None) != every:
        raise typer.BadParameter("give a VERSION, or --all for every run of the model.")
    with errors_in_one_line():
        family = Settings.read().logs / checked_name(model)
        found = _versions(family)
        if version is not None and version not in found:
            there = f"there are {', '.join(map(str, sorted(found)))}" if found else "there is none"
            raise LabError(f"{model} has no run {version} in {family.parent}: {there}.")
        if not found:
            raise LabError(f"{model} has no runs in {family.parent}.")
        folders = [found[version]] if version is not None else list(found.values())
        if version is None:
            check_sure(yes, f"{len(folders)} runs of {model}")
        for folder in folders:
            shutil.rmtree(folder)
        if not any(family.iterdir()):
            family.rmdir()
        out.print(f"Deleted: {', '.join(f'{model}/{folder.name}' for folder in folders)}")


@app.command()
def compare(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="MODEL, MODEL/VERSION or MODEL/RUN; every model if left out."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the comparison as a page into this file.")] = None,
    json: Json = False,
) -> None:
    """Compare versions and runs of the pipeline: decision, accuracy, concept, data, commit, and parameters that differ.

    A run that published a version is shown together with the version, a refused run by itself.
    """
    with errors_in_one_line():
        from tensor_jupyter.pages import compare as comparison
        from tensor_jupyter.pages.render import write

        settings = Settings.read()
        found = comparison.entries(names or [], settings)
        if html:
            write(html, comparison.page(found, html))
        if json:
            print_json({"entries": [each.document() for each in found]})
        elif not found:
            out.print(f"No versions in {settings.models}, and no runs in {settings.data / 'reports'}.")
        else:
            _print_side_by_side([each.name for each in found], comparison.facts(found))
        if html and not json:
            out.print(f"Page: {html}")


def _print_side_by_side(heads: list[str], facts: "list[Fact]") -> None:
    """Print a column for each, in as many blocks as the terminal's width requires."""
    first = max(len(fact.name) for fact in facts)
    columns = [[head, *(fact.values[number] for fact in facts)] for number, head in enumerate(heads)]
    wide = max(len(cell) for column in columns for cell in column)
    at_once = max(1, (out.width - first) // (wide + 2))
    for start in range(0, len(columns), at_once):
        if start:
            out.print()
        for name, *cells in zip(["", *(fact.name for fact in facts)], *columns[start : start + at_once], strict=True):
            out.print("  ".join([f"{name:{first}}", *(f"{cell:{wide}}" for cell in cells)]).rstrip())


def _runs(logs: Path) -> list[Path]:
    families = sorted(path for path in logs.iterdir() if path.is_dir()) if logs.is_dir() else []
    return [path for family in families for _, path in sorted(_versions(family).items(), reverse=True)]


def _versions(family: Path) -> dict[int, Path]:
    """Return the runs' folders by version; a folder whose name is not a number is not a run."""
    if not family.is_dir() or family.is_symlink():
        return {}
    named = [path for path in family.iterdir() if path.name.isascii() and path.name.isdigit()]
    return {int(path.name): path for path in named if path.is_dir() and not path.is_symlink()}


def _about(path: Path, settings: Settings) -> dict[str, Any]:
    files = [each.stat() for each in path.rglob("*") if each.is_file()]
    changed = max((each.st_mtime for each in files), default=path.stat().st_mtime)
    return {
        "run": f"{path.parent.name}/{path.name}",
        "bytes": sum(each.st_size for each in files),
        "changed": datetime.datetime.fromtimestamp(changed).astimezone().strftime("%Y-%m-%d %H:%M"),
        "published": (settings.models / path.parent.name / path.name).is_dir(),
    }
