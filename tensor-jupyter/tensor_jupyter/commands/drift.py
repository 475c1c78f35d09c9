"""`lab drift`: whether live images are still like those of the training, by their concept scores."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tensor_jupyter.commands.console import err, errors_in_one_line, fail, out, print_json
from tensor_jupyter.commands.model_kit import Json, Model, mark
from tensor_jupyter.context import checked_name
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

if TYPE_CHECKING:
    from tensor_jupyter.drift import Slice, Training

DRIFTED, UNKNOWN = 1, 2

_EXAMPLES = """Examples:

  lab drift watch mnist-net --every 600          records the scores every ten minutes

  lab drift report mnist-net --hours 6           compares those of the last six hours with the training's

Exit codes of report: 0 as in training, 1 drifted, 2 not known (no gateway, no concept model, too few images).
"""

app = typer.Typer(
    help="Concept scores of live images against those of the training.", epilog=_EXAMPLES, no_args_is_help=True
)


@app.command()
def report(
    model: Model,
    hours: Annotated[float, typer.Option(min=0.01, help="Check the images of this many hours up to now.")] = 24.0,
    max_psi: Annotated[
        float, typer.Option(min=0, help="The highest population stability index, live scores against training.")
    ] = 0.25,
    max_foreign: Annotated[
        float, typer.Option(min=0, max=1, help="The largest share of images over the concept threshold.")
    ] = 0.05,
    min_images: Annotated[int, typer.Option(min=1, help="With fewer images, the state is not known.")] = 100,
    json: Json = False,
) -> None:
    """Take a snapshot of the gateway's scores, check those of the last hours, and write drift.html and drift.png."""
    with errors_in_one_line(UNKNOWN):
        from tensor_jupyter import drift
        from tensor_jupyter.pages.drift import write_report
        from tensor_jupyter.pages.run import folder_of
        from tensor_jupyter.publishing.card import now

        settings = Settings.read()
        training, slices = _snapshot(checked_name(model), settings)
        mine = [each for each in slices if each.version == training.version]
        counts = drift.added(drift.recent(mine, training.version, hours))
        images = sum(counts.values())
        about: dict[str, Any] = {"model": model, "version": training.version, "created": now(), "hours": hours}
        about |= {"images": images, "counts": counts, "checks": [], "state": "not known", "message": ""}
        if images >= min_images:
            found = drift.check_scores(counts, training, max_psi, max_foreign)
            about["checks"] = drift.documents(found)
            about["state"] = "as training" if all(each.passed for each in found) else "drifted"
        else:
            about["message"] = f"{images} images were scored in the last {hours:g} hours; {min_images} are wanted."
        files = write_report(folder_of(settings, model), about, mine, training) if mine else {}
        _print(about, files, json)
        if code := {"as training": 0, "drifted": DRIFTED, "not known": UNKNOWN}[about["state"]]:
            fail(_reason(about), code)


@app.command()
def watch(
    model: Model,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two snapshots.")] = 600.0,
) -> None:
    """Take a snapshot of the gateway's scores again and again, until Ctrl-C: the history that `report` needs."""
    with errors_in_one_line(UNKNOWN):
        from tensor_jupyter.gateway import Gateway

        settings = Settings.read()
        checked_name(model)
        Gateway(settings)  # raises LabError for an address that can never answer
        while True:
            try:
                _, slices = _snapshot(model, settings)
            except LabError as error:  # unavailable, or restarted: it may answer for the next snapshot
                err.print(str(error))
            else:
                out.print(f"{time.strftime('%H:%M:%S')}  {model}  {sum(each.images for each in slices)} images so far")
            time.sleep(every)


def _snapshot(model: str, settings: Settings) -> "tuple[Training, list[Slice]]":
    from tensor_jupyter import drift
    from tensor_jupyter.gateway import Gateway

    with Gateway(settings) as gateway:
        return drift.snapshot(model, gateway, settings)


def _print(about: dict[str, Any], files: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json({**about, **files})
        return
    out.print(f"{about['model']}: {about['state']}, by {about['images']} images of the last {about['hours']:g} hours")
    for check in about["checks"]:
        out.print(f"{mark(check['passed'])} {check['message']}")
    for kind, path in files.items():
        out.print(f"{kind.capitalize() + ':':6} {path}")


def _reason(about: dict[str, Any]) -> str:
    missed = [check["message"] for check in about["checks"] if not check["passed"]]
    return "; ".join(missed) or about["message"]
