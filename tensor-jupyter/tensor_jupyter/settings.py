"""What the environment says, typed: every variable starts with LAB_."""

from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tensor_jupyter.errors import LabError


class Settings(BaseSettings):
    """Folders and addresses of the lab. Read with `Settings.read()`, which explains a wrong value in one line."""

    model_config = SettingsConfigDict(env_prefix="LAB_")

    models: Path = Path(".lab/models")
    """LAB_MODELS: the models volume, `<models>/<name>/<version>/`."""

    logs: Path = Path(".lab/logs")
    """LAB_LOGS: the logs volume that TensorBoard reads, `<logs>/<name>/<version>/`."""

    data: Path = Path(".lab/data")
    """LAB_DATA: downloaded data sets, Keras files and checkpoints."""

    feedback: Path = Path(".lab/feedback")
    """LAB_FEEDBACK: pictures with the label a person gave them, as the gateway keeps them."""

    offline: bool = False
    """LAB_OFFLINE=1: never download, use the data that comes with scikit-learn."""

    mnist_mirrors: tuple[str, ...] = (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    )
    """LAB_MNIST_MIRRORS: a JSON list of addresses tried in turn for the four MNIST files."""

    fashion_mnist_mirrors: tuple[str, ...] = (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    )
    """LAB_FASHION_MNIST_MIRRORS: the same for Fashion-MNIST's four files."""

    notmnist_mirrors: tuple[str, ...] = (
        "https://commondatastorage.googleapis.com/books1000/",
        "http://yaroslavvb.com/upload/notMNIST/",
    )
    """LAB_NOTMNIST_MIRRORS: the same for notMNIST_small.tar.gz."""

    rest_url: str = "http://127.0.0.1:8080"
    """LAB_REST_URL: the lab's gateway, as the notebooks call it."""

    rest_public_url: str = ""
    """LAB_REST_PUBLIC_URL: the same as a browser or terminal outside reaches it; empty: just so."""

    board_url: str = "http://127.0.0.1:6006"
    """LAB_BOARD_URL: the lab's TensorBoard, as the browser reaches it."""

    @classmethod
    def read(cls, **overrides: object) -> "Settings":
        """The environment's settings, with those `overrides` that are not None. Raises LabError for a wrong value."""
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors()[0]
            name = "_".join(str(part) for part in first["loc"][:1]).upper()
            raise LabError(f"LAB_{name} is {first['input']!r}: {first['msg']}.") from error
        except ValueError as error:  # a list that is not JSON
            raise LabError(f"The environment cannot be read: {error}.") from error
