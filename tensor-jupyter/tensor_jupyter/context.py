"""The paths of one version of one model: its logs, checkpoints and Keras file, and its folder in the models volume.

    context = Context("mnist-net")     # the next free version
    context.log_dir                    # <logs>/mnist-net/4
    model.fit(..., callbacks=context.callbacks())

Creating a Context changes nothing on disk, and this module never deletes anything.
"""

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

if TYPE_CHECKING:
    import keras

    from tensor_jupyter.data import Dataset

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""What a model may be called: it becomes a folder, part of a URL and a metric label."""

MAX_VERSION = 2**63 - 1
"""The model server keeps versions as int64."""


class Context:
    """The paths of a version of model `name`; without `version`, of the number after the greatest in models and logs.

    Raises LabError for a name or a version that cannot be served.
    """

    def __init__(self, name: str, version: int | None = None, settings: Settings | None = None) -> None:
        self.name = checked_name(name)
        self.settings = settings or Settings.read()
        self.pinned = version is not None
        self.version = _checked_version(version) if version is not None else self.next_version()

    @property
    def model_dir(self) -> Path:
        """The folder of the served version; it exists once the version is published."""
        return self.settings.models / self.name / str(self.version)

    @property
    def log_dir(self) -> Path:
        """Event files, read by TensorBoard."""
        return self.settings.logs / self.name / str(self.version)

    @property
    def checkpoint_dir(self) -> Path:
        """The best state of the training so far."""
        return self.settings.data / "checkpoints" / self.name / str(self.version)

    @property
    def keras_file(self) -> Path:
        """The trained model in Keras's own format, for further training."""
        return self.settings.data / "keras" / self.name / f"{self.version}.keras"

    @property
    def board_url(self) -> str:
        """Where the lab's TensorBoard shows the runs."""
        return f"{self.settings.board_url.rstrip('/')}/#timeseries"

    def callbacks(self, data: "Dataset | None" = None) -> "list[keras.callbacks.Callback]":
        """Return callbacks for `model.fit`: TensorBoard's events, the best state, a line for each epoch.

        Args:
            data: If given, TensorBoard gets its images, and at the end the model's results on its test images.
        """
        from tensor_jupyter.training import monitoring

        return monitoring.callbacks(self, data)

    def next_version(self) -> int:
        """One more than the greatest version among models and logs."""
        return max(greatest_version(root / self.name) for root in (self.settings.models, self.settings.logs)) + 1

    def claim(self) -> None:
        """Reserve the log folder, so that no other run writes its events there.

        If another run took the version number meanwhile, the next free one is used. A number given to the constructor
        is kept; LabError is raised if that version is published, and also if a needed folder cannot be written.
        """
        if self.pinned and self.model_dir.exists():
            raise LabError(
                f"Version {self.version} of {self.name} is published, and a published version is never changed; "
                f"the next free one is {self.next_version()}."
            )
        for folder in (self.settings.models, self.settings.data, self.log_dir.parent):
            _make_writable(folder)
        if self.pinned:
            make_shared(self.log_dir)
            return
        self.version = self.next_version()
        while not _made(self.log_dir):
            self.version += 1

    def __repr__(self) -> str:
        return f"Context({self.name!r}, version={self.version})"


def make_shared(folder: Path, exist_ok: bool = True) -> None:
    """Create the folder and its missing parents; below a folder with the setgid bit, the group may write to them.

    The umask does not matter: other users of the group must be able to write. Raises FileExistsError unless `exist_ok`.
    """
    if not folder.parent.exists():
        make_shared(folder.parent)
    folder.mkdir(exist_ok=exist_ok)
    share(folder)


def share(path: Path, like: Path | None = None) -> None:
    """Give the path's group the rights it has in `like`, else in the parent folder, if that has the setgid bit."""
    shared, own = (like or path.parent).stat().st_mode, path.stat()
    bits = shared & (0o070 if path.is_dir() else 0o060)
    if shared & stat.S_ISGID and own.st_uid == os.getuid() and own.st_mode & bits != bits:
        path.chmod(own.st_mode | bits)


def checked_name(name: str) -> str:
    """Return the name. Raises LabError if it is not a valid model name."""
    if not NAME.fullmatch(name):
        raise LabError(
            f"A model cannot be called {name!r}: a name has 1 to 63 lower-case letters, digits, '.', '_' or '-', and "
            "starts with a letter or digit, as in 'mnist-net'."
        )
    return name


def greatest_version(folder: Path) -> int:
    """The greatest number among the folders in `folder`, finished or not; 0 if there is none."""
    if not folder.is_dir():
        return 0
    names = (path.name for path in folder.iterdir() if path.is_dir())
    numbers = (int(name) for name in names if name.isascii() and name.isdigit())
    return max((number for number in numbers if number <= MAX_VERSION), default=0)


def _checked_version(version: int) -> int:
    if not isinstance(version, int) or not 1 <= version <= MAX_VERSION:
        raise LabError(f"A version is a positive whole number, not {version!r}; leave it out for the next free one.")
    return version


def _make_writable(folder: Path) -> None:
    """Create the folder, and check that it can be written: before hours of training, not after them."""
    make_shared(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise LabError(f"{folder} cannot be written by user {os.getuid()}; it belongs to {folder.stat().st_uid}.")


def _made(folder: Path) -> bool:
    """Create the folder; False if it exists already."""
    try:
        make_shared(folder, exist_ok=False)
    except FileExistsError:
        return False
    return True
