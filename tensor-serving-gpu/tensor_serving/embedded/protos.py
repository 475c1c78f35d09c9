"""TensorFlow's message classes without TensorFlow.

`import tensorflow.core.framework.tensor_pb2` first runs `tensorflow/__init__.py`, which takes seconds and 200 MB,
although the message classes do not need it. An empty package module of that name in `sys.modules` lets the import
system find `tensorflow.core` in the installed folder and skips the rest.
"""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

_NAME = "tensorflow"


def stand_in() -> None:
    """Install the empty package, unless `tensorflow` has been imported before, which works as well.

    Raises ImportError when TensorFlow is not installed.
    """
    if _NAME not in sys.modules:
        spec = importlib.util.find_spec(_NAME)
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError("TensorFlow is not installed; the embedded server needs its library (requirements.txt)")
        package = ModuleType(_NAME, "TensorFlow's message classes alone; made by tensor_serving.embedded.protos.")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = importlib.machinery.ModuleSpec(_NAME, None, is_package=True)
        package.__spec__.submodule_search_locations = package.__path__
        package.__getattr__ = _refuse  # type: ignore[method-assign]  # PEP 562
        sys.modules[_NAME] = package


def installed_in() -> Path:
    """Return the folder TensorFlow is installed in."""
    # After a real import the path contains Keras' folders as well.
    return next(folder for folder in map(Path, sys.modules[_NAME].__path__) if (folder / "core").is_dir())


def _refuse(name: str) -> NoReturn:
    raise AttributeError(
        f"tensorflow.{name} is not there: tensor_serving.embedded keeps only TensorFlow's messages in this process. "
        f"Code that needs the rest has to import tensorflow before tensor_serving.embedded."
    )
