"""`lab data` and `lab samples`: what there is to train on, and images to try a model with."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tensor_jupyter.commands.console import errors_in_one_line, out, print_json

if TYPE_CHECKING:
    from tensor_jupyter.data import Dataset, ImageSpec

_EXAMPLES = """Examples:

  lab data list

  lab data get fashion-mnist

  lab data show mnist --out mnist.png

  lab data show flowers/ --size 96x96x3 --json
"""

app = typer.Typer(
    help="Data sets: what there is, fetching one, looking at one.", epilog=_EXAMPLES, no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command("list", epilog=_EXAMPLES)
def list_sets(as_json: AsJson = False) -> None:
    """List the sets that `lab train --data` knows by name, and those of people's feedback.

    A path is a set, too: a folder with a folder of images for each label, a CSV of path,label, an .npz, a tar.
    """
    with errors_in_one_line():
        from tensor_jupyter.data import registry
        from tensor_jupyter.data.folders import feedback_models
        from tensor_jupyter.settings import Settings

        settings = Settings.read()
        sets: list[dict[str, Any]] = []
        for name in registry.NAMES:
            one = registry.named(name)
            here = registry.is_here(name, settings)
            sets.append({"name": name, "about": one.about, "downloaded": here, "offline": one.offline or None})
        for model in feedback_models(settings.feedback):
            count = sum(1 for _ in (settings.feedback / model).glob("*/*.png"))
            about = f"{count} images that people labelled"
            sets.append({"name": f"{registry.FEEDBACK}{model}", "about": about, "downloaded": True, "offline": None})
        if as_json:
            print_json(sets)
            return
        for one_set in sets:
            state = "here" if one_set["downloaded"] else "not downloaded"
            if not one_set["downloaded"]:
                state += f"; offline: {one_set['offline'] or 'nothing stands in'}"
            out.print(f"{one_set['name']:<16} {one_set['about']} ({state})")


@app.command(epilog=_EXAMPLES)
def get(
    name: Annotated[str, typer.Argument(help="mnist, fashion-mnist or notmnist.")],
) -> None:
    """Download a set into LAB_DATA, and check it; a download that was interrupted is resumed."""
    with errors_in_one_line():
        from tensor_jupyter.data import registry
        from tensor_jupyter.settings import Settings

        out.print(f"{name} is in {registry.named(name).get(Settings.read())}")


@app.command(epilog=_EXAMPLES)
def show(
    what: Annotated[str, typer.Argument(help="A name of `lab data list`, or the path of a folder, CSV, .npz or tar.")],
    sheet: Annotated[
        Path | None, typer.Option("--out", help="Write a contact sheet to this PNG: some images of every class.")
    ] = None,
    each: Annotated[int, typer.Option(min=1, max=50, help="Images of every class on the sheet.")] = 10,
    size: Annotated[str, typer.Option(help="Convert image files to HEIGHTxWIDTHxCHANNELS, such as 96x96x3.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show what is in a set: its classes, sizes and split, and with --out show some images of every class."""
    with errors_in_one_line():
        spec = _spec(size)
        from tensor_jupyter.data import load
        from tensor_jupyter.data.sheet import save_sheet

        data = load(what, spec=spec)
        if sheet:
            save_sheet(data, sheet, each)
        summary = _summary(data)
        if as_json:
            print_json({**summary, "sheet": str(sheet) if sheet else None})
        else:
            _print(summary)
            if sheet:
                out.print(f"Contact sheet: {sheet}")


def samples(
    folder: Annotated[Path, typer.Option("--out", help="Where to write them; made if it is not there.")],
    n: Annotated[
        int,
        typer.Option(
            "--n", help="How many, equally many of each digit: 10, 20, ... 1000. Offline trainings use those above 100."
        ),
    ] = 100,
) -> None:
    """Write sample digits, 28x28 grey JPEGs called `mnist_<digit>_<row>.jpg`, made from scikit-learn's digits."""
    with errors_in_one_line():
        from tensor_jupyter.data.digits import save_samples

        paths = save_samples(folder, n)
        out.print(f"{len(paths)} digits written to {folder}")


def _spec(size: str) -> "ImageSpec | None":
    """Return the form that `--size` gives, None without it. An invalid size is a usage error: exit code 2."""
    if not size:
        return None
    from tensor_jupyter.data import ImageSpec

    found = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})x([13])", size)
    if not found:
        raise typer.BadParameter(f"{size!r} is not HEIGHTxWIDTHxCHANNELS with 1 or 3 channels, as 96x96x3.")
    height, width, channels = map(int, found.groups())
    return ImageSpec(height, width, channels)


def _summary(data: "Dataset") -> dict[str, Any]:
    import numpy as np

    parts = {"train": data.train, "test": data.test}
    counts = {part: np.bincount(examples.labels, minlength=len(data.labels)) for part, examples in parts.items()}
    return {
        "message": data.message,
        **data.about,
        "unreadable": data.unreadable,
        "image": data.image_spec.card(),
        "classes": {
            label: {part: int(count[number]) for part, count in counts.items()}
            for number, label in enumerate(data.labels)
        },
    }


def _print(summary: dict[str, Any]) -> None:
    spec = summary["image"]
    colours = "grey" if spec["channels"] == 1 else "RGB"
    out.print(summary["message"])
    out.print(f"Images: {spec['height']}x{spec['width']} {colours}, {spec['polarity'] or 'as they come'}")
    out.print(f"SHA-256:  {summary['hash']}")
    width = max(map(len, summary["classes"]))
    out.print(f"{'label':<{width}}  {'train':>7}  {'test':>7}")
    for label, count in summary["classes"].items():
        out.print(f"{label:<{width}}  {count['train']:>7}  {count['test']:>7}")
