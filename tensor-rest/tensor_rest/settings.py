"""Every setting of the gateway: typed, read once from the environment, documented under the field."""

from pathlib import Path
from typing import Literal

from pydantic import Field, HttpUrl, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from `TENSOR_REST_<NAME>`; the two addresses of serving from `TF_SERVER_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="TENSOR_REST_", env_ignore_empty=True, frozen=True, populate_by_name=True, extra="ignore"
    )

    host: str = Field(default="127.0.0.1", pattern=r"^[A-Za-z0-9.:_-]+$")
    """Address to listen on. Loopback unless told otherwise: the gateway has no login."""

    port: int = Field(default=8080, ge=1, le=65535)
    """Port to listen on (nginx's, or uWSGI's own HTTP where `front` is uwsgi)."""

    run_dir: Path = Field(default_factory=lambda: Path.cwd() / "run")
    """Folder for socket, pid, temporary files and the rendered nginx.conf; nothing is written elsewhere."""

    front: Literal["nginx", "uwsgi"] = "nginx"
    """Who speaks HTTP: nginx in front of uWSGI's socket, or uWSGI alone."""

    processes: int = Field(default=2, ge=1, le=64)
    """uWSGI worker processes."""

    threads: int = Field(default=8, ge=1, le=256)
    """Threads in each worker: how many requests it handles at once."""

    max_upload_bytes: int = Field(default=10 << 20, ge=1024, le=1 << 30)
    """Largest request body; more is refused with 413 before it is read."""

    max_pixels: int = Field(default=16_000_000, ge=1)
    """Largest picture, width x height; more is refused with 413 before it is decoded."""

    default_model: str = "mnist-net"
    """The model that answers POST /predictlabel."""

    board_url: HttpUrl | None = None
    """Where TensorBoard is, for the link on the page; empty hides the link."""

    jupyter_url: HttpUrl | None = None
    """Where JupyterLab is, for the link on the page; empty hides the link."""

    server: str = Field(default="127.0.0.1:9000", validation_alias="TF_SERVER_HOST_PORT")
    """Address of TensorFlow Serving's gRPC port, as gRPC takes it (host:port, unix:/path)."""

    inventory_url: HttpUrl = Field(
        default=HttpUrl("http://127.0.0.1:8502/"), validation_alias="TF_SERVER_INVENTORY_URL"
    )
    """Where the watcher beside serving lists the models; without one, only models asked for before are listed."""

    timeout_seconds: float = Field(default=5.0, gt=0, le=300, validation_alias="TF_SERVER_TIMEOUT_SECONDS")
    """Deadline of one call to serving."""

    @property
    def socket(self) -> Path:
        """The unix socket between nginx and uWSGI."""
        return self.run_dir / "uwsgi.sock"

    @property
    def listen(self) -> str:
        """host:port as nginx and uWSGI write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def longest_request(self) -> int:
        """Seconds an honest request may take: a slow body, and a few calls to serving."""
        return int(30 + 4 * self.timeout_seconds)


def explain(error: ValidationError) -> str:
    """One line per wrong setting: its environment variable, what was found, what was wanted."""
    return "\n".join(f"{_variable(str(e['loc'][0]))}={e['input']!r}: {e['msg']}" for e in error.errors())


def _variable(name: str) -> str:
    return name if name.isupper() else f"TENSOR_REST_{name.upper()}"
