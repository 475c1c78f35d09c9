"""`lab train` and `lab retrain`: from images to a published version."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensor_jupyter.commands.console import err, errors_in_one_line, out, print_json
from tensor_jupyter.commands.model_kit import print_default
from tensor_jupyter.commands.run_flags import run_flags
from tensor_jupyter.context import Context
from tensor_jupyter.settings import Settings
from tensor_jupyter.training.run import Run
from tensor_jupyter.typed import LAB

if TYPE_CHECKING:
    from tensor_jupyter.data import Dataset

_FILE = "FILE"  # replaces paths of this machine in the published card

Config = Annotated[
    Path | None, typer.Option(help="Settings by name, as epochs = 5, in a .toml or .json file; flags override it.")
]
Resume = Annotated[
    bool | None,
    typer.Option(
        "--resume/--no-resume",
        help="Resume a stopped training, or fail; or start anew. Without either: resume if the same one was stopped.",
        show_default=False,
    ),
]
Models = Annotated[Path | None, typer.Option(help="The models folder, instead of LAB_MODELS.")]
Logs = Annotated[Path | None, typer.Option(help="The logs folder, instead of LAB_LOGS.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout instead of lines.")]


@run_flags()
def train(
    name: Annotated[
        str, typer.Argument(help="What the model is called, and the path it is served under.")
    ] = "mnist-net",
    data: Annotated[
        str, typer.Option(help="mnist, fashion-mnist, notmnist, feedback:MODEL, a folder, a CSV, an .npz.")
    ] = "mnist",
    config: Config = None,
    resume: Resume = None,
    models: Models = None,
    logs: Logs = None,
    as_json: Json = False,
    *,
    flags: dict[str, object],
) -> None:
    """Train a network, log to TensorBoard, and publish it as the next version.

    lab train mnist-tutorial --epochs 5

    lab train clothes --data fashion-mnist --network dnn --batch-size 64

    LAB_TRAIN_LEARNING_RATE=0.001 lab train letters --data notmnist --config run.toml

    A training that was stopped resumes after its last complete epoch when the command is given again.
    """
    with errors_in_one_line():
        run = Run.read(config, **flags)
        context = Context(name, settings=Settings.read(models=models, logs=logs))
        from tensor_jupyter.data import load

        dataset = load(data, context.settings)
        (err if as_json else out).print(dataset.subset(run.subset, run.seed).message)
        _train(run, dataset, context, resume, ["lab", "train", name, *_data_words(data)], as_json)


@run_flags("subset")
def retrain(
    image_dir: Annotated[Path, typer.Option(help="A folder for each class with images in it: flowers/daisy/1.jpg.")],
    name: Annotated[str | None, typer.Option(help="The model's name; the folder's if left out.")] = None,
    size: Annotated[
        int | None, typer.Option(min=8, max=512, help="Pixels a side; else the images' own, or 96.", metavar="PIXELS")
    ] = None,
    config: Config = None,
    resume: Resume = None,
    models: Models = None,
    logs: Logs = None,
    as_json: Json = False,
    *,
    flags: dict[str, object],
) -> None:
    """Teach a network your own classes from a few hundred images, and publish it.

    lab retrain --image-dir flowers/

    lab retrain --image-dir flowers/ --weights mobilenet_v2_no_top.h5 --epochs 20

    For photographs, a pretrained network is adapted (transfer); for small images, a small one is trained from scratch.
    """
    with errors_in_one_line():
        run = Run.read(config, **flags)
        context = Context(name or _called(image_dir), settings=Settings.read(models=models, logs=logs))
        from tensor_jupyter.data import ImageSpec, load

        dataset = load(image_dir, context.settings, ImageSpec(size, size, 3) if size else None)
        (err if as_json else out).print(dataset.message)
        from tensor_jupyter.training.network_selection import choose_network

        run, message = choose_network(run, dataset, context.settings.offline)
        err.print(message)
        words = ["lab", "retrain", "--image-dir", "DIR", "--name", context.name]
        _train(run, dataset, context, resume, words + (["--size", str(size)] if size else []), as_json)


def _train(
    run: Run, dataset: "Dataset", context: Context, resume: bool | None, words: list[str], as_json: bool
) -> None:
    """Train, publish and report; words: the command so far, for the card."""
    from tensor_jupyter.progress import EpochProgress
    from tensor_jupyter.publishing.export import export
    from tensor_jupyter.training.checkpoints import is_kept
    from tensor_jupyter.training.fit import train as fit

    console = err if as_json else out
    try:
        with EpochProgress(err) as progress:
            trained = fit(run, dataset, context, resume=resume, verbose=0, callbacks=[progress], say=err.print)
    except KeyboardInterrupt:
        kept = "the finished epochs are kept: the same command resumes after them"
        err.print(f"Stopped; {kept if is_kept(context) else 'no epoch was finished: the same command starts over'}.")
        raise
    metrics = trained.metrics
    if "test_accuracy" in metrics:
        images, accuracy = metrics["test_images"], metrics["test_accuracy"]
        console.print(f"Accuracy on all {images} test images of {trained.data.name}: {accuracy:.2%}")
    else:
        console.print(f"Error on {metrics['test_images']} unseen images: {metrics['test_error']:.5f}")
        console.print(f"Threshold: {metrics['threshold']:.5f}; {metrics['test_false_alarms']:.2%} of them are above it")
    command = " ".join([*words, *_run_words(run)])
    published = export(
        trained.model,
        context,
        trained.data,
        metrics=metrics,
        command=command,
        threshold=metrics.get("threshold"),
        quantiles=trained.quantiles,
    )
    console.print(f"Published: {published}")
    if not as_json:
        print_default(context.settings, published)
    console.print(f"Events:    {context.log_dir}")
    if "test_accuracy" in metrics:
        console.print(f"Try it:    {LAB} label --model {context.name} IMAGE")
    if as_json:
        answer = {"name": context.name, "version": int(published.name), "metrics": metrics}
        print_json({**answer, "published": str(published), "events": str(context.log_dir)})


def _called(folder: Path) -> str:
    """Return a valid model name made from the folder's name."""
    name = re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._")
    return name[:63] or "retrained"


def _data_words(data: str) -> list[str]:
    if data == "mnist":
        return []
    parts = [data] if Path(data).exists() else data.split("+")
    return ["--data", "+".join("DIR" if Path(part).exists() else part for part in parts)]


def _run_words(run: Run) -> list[str]:
    """Return the flags that repeat the run; FILE replaces a path of this machine."""
    words = ["--epochs", str(run.epochs)]
    for name, value in run.differences().items():
        if name == "weights" and value != "none":
            value = _FILE
        if name == "profile":
            words.append("--profile")
        elif name != "epochs":
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words
