"""`lab models delete`, `lab models unpin` and `lab models independent-rows`."""

from typing import Annotated, Literal

import typer

from tensor_jupyter.commands.console import check_sure, errors_in_one_line, out
from tensor_jupyter.commands.model_kit import Model, Wait, registry_of, wait_for
from tensor_jupyter.typed import LAB


def delete(
    model: Model,
    version: Annotated[int | None, typer.Argument(min=1, help="The version.")] = None,
    every: Annotated[bool, typer.Option("--all", help="The model with all its versions; asks first.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if it is served or has a label.")] = False,
    wait: Wait = 20.0,
) -> None:
    """Delete a version, or with --all a model.

    A version that is served or labelled is deleted only with --force, the last one not in quarantine only with --all.
    """
    if (version is None) != every:
        raise typer.BadParameter("give a VERSION, or --all for the model with every version.")
    with errors_in_one_line():
        from tensor_jupyter.publishing.overview import sound

        settings, registry = registry_of(model)
        if version is None:
            numbers = registry.folders()
            what = f"{model} with {len(numbers)} version{'' if len(numbers) == 1 else 's'}"
            check_sure(yes, what)
            registry.delete_all()
            out.print(f"{what} is deleted; its runs in TensorBoard stay ({LAB} runs delete {model}).")
            wait_for(model, settings, wait, lambda seen: not seen.available)
            return
        registry.delete(version, sound(registry, settings), force)
        out.print(f"{model} {version} is deleted.")
        wait_for(model, settings, wait, lambda seen: version not in seen.available and version not in seen.quarantined)


def unpin(model: Model, wait: Wait = 20.0) -> None:
    """Make the newest version the default again: the pin of a rollback, `stable` and `candidate` are removed.

    From then on a new version that is as good becomes the default when it is published.
    """
    with errors_in_one_line():
        settings, registry = registry_of(model)
        newest = registry.unpin()
        out.print(f"{model} follows its newest version{f', now {newest}' if newest else ''}.")
        wait_for(model, settings, wait, lambda seen: "stable" not in seen.labels and newest in (0, *seen.available))


def independent_rows(
    model: Model,
    value: Annotated[Literal["on", "off", "auto"], typer.Argument(help="auto: as the version itself declares.")],
) -> None:
    """Declare whether rows of the model's requests are independent, so that a server may batch, split and join them.

    If rows of the model do depend on each other, as in a sum over rows, `on` makes its answers wrong.
    """
    with errors_in_one_line():
        _, registry = registry_of(model)
        registry.set_independent_rows({"on": True, "off": False, "auto": None}[value])
        out.print(f"{model}: independent_rows is {value}.")
