"""The lab's folders and addresses, typed: from variables that start with LAB_, else from the lab's state folder."""

import os
from pathlib import Path

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tensor_jupyter import home, ports
from tensor_jupyter.errors import LabError

_MAX_KEY = 4096  # bytes


class Settings(BaseSettings):
    """Folders and addresses of the lab. Read with `Settings.read()`, which explains a wrong value in one line."""

    # Empty variables count as unset: compose files pass them on.
    model_config = SettingsConfigDict(env_prefix="LAB_", env_ignore_empty=True)

    id: str = ""
    """The lab's id, which its gateway's `/healthz` must return; empty: any gateway is accepted."""

    models: Path = Path(".lab/models")
    """The models volume, `<models>/<name>/<version>/`."""

    logs: Path = Path(".lab/logs")
    """The logs volume that TensorBoard reads, `<logs>/<name>/<version>/`."""

    data: Path = Path(".lab/data")
    """Downloaded data sets, Keras files and checkpoints."""

    feedback: Path = Path(".lab/feedback")
    """Images with the label a person gave them, as the gateway keeps them."""

    offline: bool = False
    """1: never download; use the offline stand-ins."""

    mnist_mirrors: tuple[str, ...] = (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    )
    """A JSON list of addresses tried in turn for the four MNIST files."""

    fashion_mnist_mirrors: tuple[str, ...] = (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    )
    """The same for Fashion-MNIST's four files."""

    notmnist_mirrors: tuple[str, ...] = (
        "https://commondatastorage.googleapis.com/books1000/",
        "http://yaroslavvb.com/upload/notMNIST/",
    )
    """The same for notMNIST_small.tar.gz."""

    rest_url: str = f"http://127.0.0.1:{ports.REST}"
    """The lab's gateway, as the notebooks call it."""

    rest_public_url: str = ""
    """The gateway's address for browsers and terminals outside; empty: `LAB_REST_URL`."""

    api_key: SecretStr = SecretStr("")
    """The API key for a gateway that requires one."""

    api_key_file: Path | None = None
    """A file with the key, where `LAB_API_KEY` is empty; if not set, `LAB_DATA/api-key` if there."""

    board_url: str = f"http://127.0.0.1:{ports.BOARD}"
    """The lab's TensorBoard, as the browser reaches it."""

    def key(self) -> str:
        """The API key to send, "" for none. Raises LabError, without the key in it, if it cannot be read or sent."""
        key, source = self.api_key.get_secret_value().strip(), "LAB_API_KEY"
        file = self.api_key_file or self.data / "api-key"
        if not key and (self.api_key_file or file.is_file()):
            source = str(file)
            try:
                key = file.read_bytes()[:_MAX_KEY].decode(errors="replace").strip()
            except OSError as error:
                raise LabError(f"The API key's file {file} cannot be read: {error.strerror}.") from error
            if not key:
                raise LabError(f"The API key's file {file} is empty.")
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise LabError(f"{source} does not hold an API key (expected one line of ASCII characters, no spaces).")
        return key

    @classmethod
    def read(cls, **overrides: object) -> "Settings":
        """Return the settings: `overrides` that are not None, else the environment's, else those of the lab found.

        Raises LabError for a wrong value.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        if "models" not in given:
            home.announce()
        found = home.environment()
        missing = [name for name in cls.model_fields if not os.environ.get(f"LAB_{name.upper()}")]
        beside = {name: found[f"LAB_{name.upper()}"] for name in missing if f"LAB_{name.upper()}" in found}
        try:
            return cls(**(beside | given))  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors()[0]
            name = "_".join(str(part) for part in first["loc"][:1]).upper()
            raise LabError(f"LAB_{name} is {first['input']!r}: {first['msg']}.") from error
        except ValueError as error:  # a list that is not JSON
            raise LabError(f"The environment cannot be read: {error}.") from error
