"""The steps export-classifier and export-concept: each exports a version into the pipeline's own models folder."""

from pathlib import Path

import keras

from tensor_jupyter.context import Context
from tensor_jupyter.data import Dataset
from tensor_jupyter.pipeline.bodies import gather, train
from tensor_jupyter.pipeline.execute import Job
from tensor_jupyter.publishing import export as publishing


def run_classifier(job: Job) -> None:
    data = gather.read_all(job.root)
    model = train.read(job.root / "train-classifier", train.classifier_run(job.parameters), data)
    _export(job, "train-classifier", job.parameters.model, model, data)


def run_concept(job: Job) -> None:
    data = gather.read(job.root / "gather-mnist")
    model = train.read(job.root / "train-concept", train.concept_run(job.parameters), data)
    _export(job, "train-concept", job.parameters.concept, model, data, companion=job.parameters.model)


def exported(root: Path, step: str, name: str) -> Path:
    """Return the folder of the only version that an export step made."""
    (folder,) = (root / step / "models" / name).glob("[0-9]*")
    return folder


def _export(job: Job, step: str, name: str, model: keras.Model, data: Dataset, companion: str = "") -> None:
    trained, version = job.read(f"{step}/trained.json"), job.read(f"{step}/{train.RUN}")["version"]
    metrics = trained["metrics"]
    # The version has the number of its run in TensorBoard, and keeps it when it is deployed.
    settings = job.settings.model_copy(update={"models": job.folder / "models"})
    published = publishing.export(
        model,
        Context(name, version, settings),
        data,
        metrics=metrics,
        command=f"lab pipeline run --model {job.parameters.model}",
        threshold=metrics.get("threshold"),
        quantiles=trained.get("quantiles"),
        companion=companion,
        run=job.run,
        decides=False,
    )
    job.say(f"{name} is exported; its golden samples get their recorded answers ({published.name})")
