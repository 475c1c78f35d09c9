"""The ModelServerConfig file: which models, from which folders, which versions, which labels."""

from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tensor_serving.embedded.options import Options
from tensor_serving.policy import Policy

_TENSORFLOW = 1  # ModelType.TENSORFLOW of the deprecated field model_type


class ConfigError(Exception):
    """The config cannot be followed. The text says what was found and what was wanted."""


@dataclass(frozen=True)
class ModelSettings:
    """One configured model."""

    base_path: Path
    policy: Policy = field(default_factory=Policy)
    labels: dict[str, int] = field(default_factory=dict)


class ConfigSource:
    """Where the settings come from: the config file, looked at again on each `read`, or the flags of a single model."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._text: str | None = None

    def read(self) -> dict[str, ModelSettings] | None:
        """Return the settings by model name, or None when they are what they were. Raises ConfigError, OSError."""
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
    """Return the settings by model name; None for a text that configures nothing, which TF Serving passes over.

    Raises ConfigError when the text is no ModelServerConfig or one model's entry makes no sense: then none is followed.
    """
    try:
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise ConfigError(f"not a ModelServerConfig: {error}") from error
    if config.WhichOneof("config") is None:
        return None
    if config.WhichOneof("config") != "model_config_list":
        raise ConfigError("custom_model_config is not supported, wanted a model_config_list")
    settings: dict[str, ModelSettings] = {}
    for entry in config.model_config_list.config:
        if not entry.name or entry.name in settings:
            raise ConfigError(f"model name {entry.name!r} is {'listed twice' if entry.name else 'empty'}")
        settings[entry.name] = _settings(entry)
    return settings


def _settings(entry: model_server_config_pb2.ModelConfig) -> ModelSettings:
    if entry.model_platform != "tensorflow" and not (entry.model_type == _TENSORFLOW and not entry.model_platform):
        raise ConfigError(f"model {entry.name}: model_platform is {entry.model_platform!r}, wanted 'tensorflow'")
    if not Path(entry.base_path).is_absolute():
        raise ConfigError(f"model {entry.name}: base_path {entry.base_path!r} is not absolute")
    return ModelSettings(Path(entry.base_path), _policy(entry), dict(entry.version_labels))


def _policy(entry: model_server_config_pb2.ModelConfig) -> Policy:
    policy = entry.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return Policy("all")
    if kind == "specific":
        if not policy.specific.versions:
            raise ConfigError(f"model {entry.name}: policy specific names no versions")
        return Policy("specific", versions=tuple(policy.specific.versions))
    return Policy("latest", policy.latest.num_versions or 1)
