"""The command `lab`: the workbench from a terminal.

TensorFlow is imported by the commands that need it, so that help comes at once.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tensor_jupyter.context import Context
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

app = typer.Typer(
    name="lab",
    help="The workbench of tensor-lab: train models that the lab serves.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_log = logging.getLogger(__name__)
_out = Console(soft_wrap=True, highlight=False)
_err = Console(soft_wrap=True, highlight=False, stderr=True)


@app.callback()
def _lab(
    verbose: Annotated[bool, typer.Option("--verbose", help="Tell each step, and where an error arose.")] = False,
) -> None:
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("tensor_jupyter").setLevel(level)


@app.command()
def train(
    name: Annotated[
        str, typer.Argument(help="What the model is called, and the path it is served under.")
    ] = "mnist-net",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with MNIST's IDX files, or others of that layout. Else downloaded, or offline digits."
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="How often to go through the pictures.")] = 10,
    subset: Annotated[
        float,
        typer.Option(
            min=0.001, max=1.0, help="Part of the training pictures to use, as 0.1; at least 2,000 are taken."
        ),
    ] = 1.0,
    models: Annotated[Path | None, typer.Option(help="The models folder, instead of LAB_MODELS.")] = None,
    logs: Annotated[Path | None, typer.Option(help="The logs folder, instead of LAB_LOGS.")] = None,
) -> None:
    """Train the convolutional net, log to TensorBoard, and publish it as the next version."""
    with _told_in_one_line():
        settings = Settings.read(models=models, logs=logs)
        context = Context(name, settings=settings)
        from tensor_jupyter.data import load_mnist

        pictures = load_mnist(data, settings).subset(subset)
        _out.print(pictures.message)

        from tensor_jupyter.export import export
        from tensor_jupyter.models import mnist_net
        from tensor_jupyter.progress import EpochProgress
        from tensor_jupyter.train import evaluate
        from tensor_jupyter.train import train as fit

        model = mnist_net()
        fit(model, pictures, context, epochs, verbose=0, callbacks=[EpochProgress(_err, epochs)])
        metrics = evaluate(model, pictures)
        _out.print(f"Accuracy on {metrics['test_images']} unseen pictures: {metrics['test_accuracy']:.2%}")
        published = export(model, pictures, context, metrics, _command(name, data, epochs, subset))
        _out.print(f"Published: {published}")
        _out.print(f"Events:    {context.log_dir}")


@app.command()
def samples(
    out: Annotated[Path, typer.Option(help="Where to write them; made if it is not there.")],
    n: Annotated[int, typer.Option("--n", help="How many, equally many of each digit: 10, 20, ... 1000.")] = 100,
) -> None:
    """Write sample digits, 28x28 grey JPEGs called mnist_<digit>_<row>.jpg, made from scikit-learn's digits."""
    with _told_in_one_line():
        from tensor_jupyter.digits import save_samples

        paths = save_samples(out, n)
        _out.print(f"{len(paths)} digits written to {out}")


def main() -> None:
    """What `lab` and `python -m tensor_jupyter` run."""
    app(prog_name="lab")


def _command(name: str, data: Path | None, epochs: int, subset: float) -> str:
    """The command that makes such a model again, without the paths of this machine."""
    words = ["lab", "train", name]
    words += ["--data", "DIR"] if data else []
    words += ["--epochs", str(epochs)]
    words += ["--subset", str(subset)] if subset != 1 else []
    return " ".join(words)


@contextlib.contextmanager
def _told_in_one_line() -> Iterator[None]:
    """What a person can put right becomes one line on stderr and exit code 1; Ctrl-C becomes 130."""
    try:
        yield
    except LabError as error:
        _fail(str(error), 1)
    except OSError as error:  # a full disk, a folder that may not be written
        _fail(f"{error.strerror}: {error.filename}" if error.filename else str(error), 1)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except Exception as error:  # noqa: BLE001 - TensorFlow's own errors, as of a full disk, have no common home
        _log.debug("%s", error, exc_info=True)
        first = (str(error).splitlines() or [""])[0]
        _fail(f"{type(error).__name__}: {first} (lab --verbose tells where)", 1)


def _fail(message: str, code: int) -> None:
    _err.print(f"lab: {message}", markup=False)
    sys.exit(code)
