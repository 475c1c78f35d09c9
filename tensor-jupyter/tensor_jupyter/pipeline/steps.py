"""The table of steps, from which runner, stamps, command line and Argo manifests are derived."""

from dataclasses import dataclass

from tensor_jupyter.errors import LabError


@dataclass(frozen=True)
class Resources:
    """What a container of the step requests, in Kubernetes' words."""

    cpu: str = "1"
    memory: str = "2Gi"


@dataclass(frozen=True)
class Step:
    """One step of the pipeline.

    needs: steps that come before. inputs: files in the pipeline's folder that it reads, `<step>/<output>`. outputs:
    files or folders that it writes into its own folder there. params: the parameters that it depends on. retries: how
    often Argo tries it again. live: whether it calls the running lab.
    """

    name: str
    does: str
    needs: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: tuple[str, ...]
    image: str = "tensor-jupyter"
    resources: Resources = Resources()
    retries: int = 0
    live: bool = False

    @property
    def command(self) -> tuple[str, ...]:
        """The command that runs the step, with every engine."""
        return ("lab", "pipeline", "step", self.name)


_DATA = ("data.npz", "about.json")
_TRAINED = ("weights.npz", "trained.json")
_DIGITS = tuple(f"gather-mnist/{file}" for file in _DATA)
_LETTERS = tuple(f"gather-notmnist/{file}" for file in _DATA)
_CORRECTIONS = tuple(f"gather-feedback/{file}" for file in _DATA)
_CLASSIFIER = tuple(f"train-classifier/{file}" for file in _TRAINED)
_CONCEPT = tuple(f"train-concept/{file}" for file in _TRAINED)
_GATE = ("min_accuracy", "max_accuracy_loss", "max_disagreement", "max_latency_ms", "gate_images")
_EXPORTS = ("export-classifier/models", "export-concept/models")

STEPS = (
    Step(
        "gather-mnist",
        "Fetch MNIST: digits to train on and to test with.",
        needs=(),
        inputs=(),
        outputs=_DATA,
        params=("mnist_data_dir", "subset", "seed"),
        retries=3,
    ),
    Step(
        "gather-notmnist",
        "Fetch notMNIST: letters, which the concept model should find foreign, in training and in the gate.",
        needs=(),
        inputs=(),
        outputs=_DATA,
        params=("notmnist_data_dir",),
        retries=3,
    ),
    Step(
        "gather-feedback",
        "Gather the corrections that people gave the model on the page.",
        needs=("gather-mnist",),
        inputs=_DIGITS,
        outputs=_DATA,
        params=("model", "feedback"),
    ),
    Step(
        "train-classifier",
        "Train the classifier of digits.",
        needs=("gather-mnist", "gather-feedback"),
        inputs=(*_DIGITS, *_CORRECTIONS),
        outputs=_TRAINED,
        params=("model", "network", "epochs", "learning_steps", "learning_rate", "batch_size", "seed"),
        resources=Resources("2", "4Gi"),
    ),
    Step(
        "train-concept",
        "Train the concept model, which scores how foreign an image is.",
        needs=("gather-mnist", "gather-notmnist"),
        inputs=(*_DIGITS, *_LETTERS),
        outputs=_TRAINED,
        params=("model", "concept_epochs", "batch_size", "seed"),
        resources=Resources("2", "4Gi"),
    ),
    Step(
        "export-classifier",
        "Export the classifier with its card, and replay its golden samples.",
        needs=("train-classifier",),
        inputs=(*_DIGITS, *_CORRECTIONS, *_CLASSIFIER),
        outputs=("models",),
        params=("model", "network", "seed"),
    ),
    Step(
        "export-concept",
        "Export the concept model with its threshold.",
        needs=("train-concept",),
        inputs=(*_DIGITS, *_CONCEPT),
        outputs=("models",),
        params=("model", "seed"),
    ),
    Step(
        "evaluate",
        "Measure both exported models on images they were not trained on.",
        needs=("export-classifier", "export-concept", "gather-notmnist"),
        inputs=(*_EXPORTS, *_DIGITS, *_CORRECTIONS, *_LETTERS),
        outputs=("evaluation.json", "measured.npz"),
        params=(
            *("model", "gate_images", "min_accuracy", "max_latency_ms"),
            *("min_auroc", "min_fitted_auroc", "max_false_alarms"),
        ),
    ),
    Step(
        "deploy",
        "Publish both models under the label candidate.",
        needs=("evaluate",),
        inputs=(*_EXPORTS, *_CLASSIFIER, *_CONCEPT),
        outputs=("deployed.json",),
        params=("model",),
        live=True,
    ),
    Step(
        "test",
        "Call the candidate over REST.",
        needs=("deploy", "gather-notmnist"),
        inputs=("deploy/deployed.json", *_DIGITS, *_LETTERS),
        outputs=("live.json",),
        params=("model", "live_calls", "min_accuracy", "max_live_latency_ms", "min_auroc", "max_false_alarms"),
        live=True,
    ),
    Step(
        "promote",
        "Make the candidate stable if every check passes; otherwise remove it.",
        needs=("test",),
        inputs=("deploy/deployed.json", "evaluate/evaluation.json", "test/live.json", *_DIGITS),
        outputs=("decision.json",),
        params=("model", *_GATE),
        live=True,
    ),
)
"""Each step stands after those it needs."""

NAMES = tuple(step.name for step in STEPS)

LAST = STEPS[-1].name
"""The step that decides whether the models become stable."""


def named(name: str) -> Step:
    """Return the step. Raises LabError, which lists all steps, if there is none of that name."""
    found = next((step for step in STEPS if step.name == name), None)
    if found is None:
        raise LabError(f"There is no step {name!r}; the steps are {', '.join(NAMES)}.")
    return found


def after(name: str) -> list[str]:
    """Return the step and every step that depends on it, in order."""
    found = {named(name).name}
    for step in STEPS:
        if found.intersection(step.needs):
            found.add(step.name)
    return [each for each in NAMES if each in found]
