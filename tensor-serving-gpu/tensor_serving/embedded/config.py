"""The ModelServerConfig file: which models, from which folders, which versions, which labels."""

from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tensor_serving.embedded.errors import ServingError, invalid
from tensor_serving.embedded.options import Options
from tensor_serving.policy import Policy

_TENSORFLOW = 1  # ModelType.TENSORFLOW of the deprecated field model_type


class ConfigError(Exception):
    """The config cannot be used. The text names what was found and what was expected."""


@dataclass(frozen=True)
class ModelSettings:
    """One configured model."""

    base_path: Path
    policy: Policy = field(default_factory=Policy)
    labels: dict[str, int] = field(default_factory=dict)


class ConfigSource:
    """The source of the settings: the config file, read again by each `read`, or the flags of a single model."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._text: str | None = None

    def read(self) -> dict[str, ModelSettings] | None:
        """Return the settings by model name, or None when they are unchanged. Raises ConfigError, OSError."""
        path = self._options.model_config_file
        text = path.read_text(encoding="utf-8", errors="replace") if path else ""
        if text == self._text:
            return None
        self._text = text
        if path:
            return parse(text)
        base = self._options.model_base_path
        return {self._options.model_name: ModelSettings(base.absolute())} if base else {}


def parse(text: str) -> dict[str, ModelSettings] | None:
    """Return the settings by model name; None for a text that configures nothing, which TF Serving ignores.

    Raises ConfigError when the text is not a ModelServerConfig or one model's entry is invalid: then none is applied.
    """
    try:
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise ConfigError(f"not a ModelServerConfig: {error}") from error
    if config.WhichOneof("config") is None:
        return None
    if config.WhichOneof("config") != "model_config_list":
        raise ConfigError("custom_model_config is not supported, wanted a model_config_list")
    try:
        return settings_of(config.model_config_list)
    except ServingError as error:
        raise ConfigError(error.text) from error


def settings_of(models: model_server_config_pb2.ModelConfigList) -> dict[str, ModelSettings]:
    """Return the settings by model name. Raises ServingError INVALID_ARGUMENT with TF Serving's text."""
    settings: dict[str, ModelSettings] = {}
    for entry in models.config:
        if not entry.name:
            raise invalid("a model in the config list has no name")
        if entry.name in settings:
            raise invalid(f"Illegal to list model {entry.name} multiple times in config list")
        settings[entry.name] = _settings(entry)
    return settings


def _settings(entry: model_server_config_pb2.ModelConfig) -> ModelSettings:
    if (platform := _platform(entry)) != "tensorflow":
        raise invalid(f"Model {entry.name} requests unsupported platform {platform}")
    if not Path(entry.base_path).is_absolute():
        raise invalid(f"Expected model {entry.name} to have an absolute path or URI; got base_path()={entry.base_path}")
    return ModelSettings(Path(entry.base_path), _policy(entry), dict(entry.version_labels))


def _platform(entry: model_server_config_pb2.ModelConfig) -> str:
    if entry.model_type and entry.model_platform:
        raise invalid(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
        )
    if entry.model_type not in (0, _TENSORFLOW):
        raise invalid(f"ModelServerConfig::model_type choice {entry.model_type} not supported.")
    if not (entry.model_type or entry.model_platform):
        raise invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform."
        )
    return "tensorflow" if entry.model_type else str(entry.model_platform)


def _policy(entry: model_server_config_pb2.ModelConfig) -> Policy:
    policy = entry.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return Policy("all")
    if kind == "specific":
        if not policy.specific.versions:
            raise invalid(f"model {entry.name}: policy specific names no versions")
        return Policy("specific", versions=tuple(policy.specific.versions))
    return Policy("latest", policy.latest.num_versions or 1)
