"""Every setting of the gateway: typed, read once from the environment, documented under the field."""

import re
import ssl
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    FilePath,
    HttpUrl,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tensor_rest import resources

_PORT = 8080
_MAX_BODY_BYTES = 192 << 20
UPLOAD_RATE = 100_000
"""Minimum average rate of a large body in bytes per second, not counting `UPLOAD_SECONDS`: 1 Mbit/s is enough."""

UPLOAD_SECONDS = 5.0
"""Seconds that a large body may take in addition to those that `UPLOAD_RATE` allows."""


def _words(value: Any) -> Any:
    """Split a list from the environment, which is separated by commas or spaces."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


_Words = BeforeValidator(_words)
_Host = Annotated[str, StringConstraints(to_lower=True, pattern=r"^(\*|(\*\.)?[A-Za-z0-9][A-Za-z0-9._-]*)$")]
_Origin = Annotated[str, StringConstraints(to_lower=True, pattern=r"^(\*|https?://[A-Za-z0-9._\[\]:-]+)$")]
_Source = Annotated[
    str,
    StringConstraints(to_lower=True, pattern=r"^((\*\.)?[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"),
]
_SERVER = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$"
_TARGET = r"^((dns|ipv4|ipv6|unix|unix-abstract|file):.+|(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5})$"


def _own_port(value: Any) -> Any:
    """Ignore what Kubernetes sets for a Service named tensor-rest: TENSOR_REST_PORT=tcp://10.0.0.1:8080."""
    return _PORT if isinstance(value, str) and value.startswith(("tcp://", "udp://", "sctp://")) else value


def _long_enough(value: Any) -> Any:
    try:
        if len(Path(value).read_bytes().strip()) < 32:
            raise ValueError("the key has less than 32 bytes")
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from error
    return value


class Settings(BaseSettings):
    """Read from `TENSOR_REST_<NAME>`; settings of the model server from `TF_SERVER_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="TENSOR_REST_", env_ignore_empty=True, frozen=True, populate_by_name=True, extra="ignore"
    )

    host: str = Field(default="127.0.0.1", pattern=r"^[A-Za-z0-9.:_-]+$")
    """Address to listen on. Loopback by default: without API keys any client that reaches it may call."""

    port: Annotated[int, BeforeValidator(_own_port)] = Field(default=_PORT, ge=1, le=65535)
    """Port to listen on. A value `tcp://...`, which Kubernetes sets for a Service named tensor-rest, is ignored."""

    run_dir: Path = Field(default_factory=lambda: Path.cwd() / "run")
    """Folder for sockets and the rendered nginx.conf, by default `./run`; only feedback is written elsewhere."""

    front: Literal["nginx", "uwsgi"] = "nginx"
    """Which program serves HTTP: `nginx` in front of uWSGI's socket, or `uwsgi` alone."""

    lab_id: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,128}$",
        validation_alias=AliasChoices("TENSOR_REST_LAB_ID", "LAB_ID"),
    )
    """Id of the lab this gateway belongs to, set by `up`; `/healthz` returns it, so that a client can compare it."""

    concurrency: int = Field(default=128, ge=1, le=4096)
    """How many requests a worker handles at once, each in a greenlet."""

    waiting: int = Field(default=1500, ge=0, le=16384)
    """How many more requests a worker holds while the model server restarts. Each costs 40 KB and its body."""

    batch_rows: int = Field(default=32, ge=1, le=4096)
    """Maximum rows in one call that requests share, where a model's rows are known to be independent; 1: none share."""

    batch_calls: int = Field(default=2, ge=1, le=64)
    """Shared calls a worker has in flight at once for one model. A higher number helps with many cores."""

    max_upload_bytes: int = Field(default=10 << 20, ge=1024, le=1 << 30)
    """Largest request body, as sent and as unpacked; more is refused with 413 before it is read."""

    body_memory_bytes: int = Field(default_factory=lambda: min(_MAX_BODY_BYTES, resources.memory_bytes() // 3), ge=1024)
    """Memory for the bodies from 100 kB, as sent or unpacked, of all clients together, each counted three times;
    further ones wait 5 s, then get 503. By default a third of the control group's memory, at most 192 MiB. Each worker
    always accepts one."""

    processes: int = Field(default_factory=lambda given: resources.workers(given["body_memory_bytes"]), ge=1, le=64)
    """uWSGI worker processes. By default half the CPUs of the control group, at most 16, and as many as fit into its
    memory (64 MiB each). One is enough for a model server on two cores: a second one makes batches smaller."""

    max_pixels: int = Field(default=16_000_000, ge=1)
    """Largest image, width x height, as its header has it; more is refused with 413 before it is decoded."""

    api_keys_file: Path | None = None
    """File of the API keys: lines `name:sha256` as `python -m tensor_rest key NAME` makes them; none: no key needed."""

    allowed_hosts: Annotated[tuple[_Host, ...], NoDecode, _Words] = ()
    """Names under which browsers reach the gateway; `*.lab.example`: all names below, `*`: any. Addresses, localhost
    and names that only exist inside a network are always accepted."""

    cors_origins: Annotated[tuple[_Origin, ...], NoDecode, _Words] = ()
    """Origins of other web pages that may call the gateway, such as `https://app.example`; `*`: any."""

    requests_per_second: int = Field(default=1000, ge=0, le=1_000_000)
    """Requests per second of one client over the network, with bursts of twice as many; more get 429. 0: no limit."""

    connections_per_client: int = Field(default=1024, ge=0, le=65535)
    """Requests of one client over the network at the same time; more get 429. 0: no limit."""

    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, _Words] = ()
    """Addresses or networks of proxies in front of nginx whose `X-Forwarded-For` names the client."""

    url_allow: Annotated[tuple[_Source, ...], NoDecode, _Words] = ()
    """Hosts images may be fetched from, `host`, `*.host` or `host:port`; none: no image is fetched."""

    default_model: str = "mnist-net"
    """The model that answers `POST /predictlabel`."""

    concept_wait_ms: float = Field(default=20.0, ge=0, le=10_000)
    """How long `classify` waits, after the classification, for the score of `<model>-concept`, called in parallel."""

    rules: Path | None = None
    """JSON file of score thresholds, and of the models to call below them; read again when it changes."""

    feedback_dir: Path | None = None
    """Folder for labelled images from `POST .../feedback`, which the workbench reads; none: no image is kept."""

    feedback_max_samples: int = Field(default=10_000, ge=1)
    """Maximum number of labelled images kept; more are refused with 507."""

    feedback_max_bytes: int = Field(default=1 << 30, ge=1)
    """Maximum bytes of labelled images kept; more are refused with 507."""

    board_url: HttpUrl | None = None
    """Where TensorBoard is, for a link on the page where `/tensorboard/` cannot be opened; none hides the link."""

    board_server: str = Field(default="", pattern=rf"^$|{_SERVER}")
    """`host:port` of TensorBoard, which nginx then serves under `/tensorboard/` of the gateway; none: it does not. A
    name is looked up by DNS, not in `/etc/hosts`."""

    jupyter_url: HttpUrl | None = None
    """Where JupyterLab is, for the link on the page; none hides the link."""

    server: str = Field(default="127.0.0.1:9000", validation_alias="TF_SERVER_HOST_PORT", pattern=_TARGET)
    """Address of the model server's gRPC port: `host:port`, `dns:///host:port`, `ipv4:a:p,b:p`, `ipv6:[a]:p`,
    `unix:/path`, `unix-abstract:name`, or `file:/path` with a line `host:port inventory-host:port` for each of several
    servers. Several addresses, of any form, are called round-robin."""

    inventory_url: HttpUrl = Field(
        default=HttpUrl("http://127.0.0.1:8502/"), validation_alias="TF_SERVER_INVENTORY_URL"
    )
    """Where the watcher beside the model server lists the models; without it only models called before are listed. If
    it has the host name of `TF_SERVER_HOST_PORT`, each address of that name has its own watcher."""

    grpc_port: int = Field(default=0, ge=0, le=65535)
    """Port at which nginx passes on those of the model server's gRPC calls that change nothing: predictions, metadata,
    status and health. For a workbench that must not reach the model server; 0: none. It requires no API key."""

    inventory_port: int = Field(default=0, ge=0, le=65535)
    """Port at which nginx passes on the watcher's list, for the same workbench; 0: none. It requires no API key."""

    timeout_seconds: float = Field(default=15.0, gt=0, le=300, validation_alias="TF_SERVER_TIMEOUT_SECONDS")
    """How long a request may wait for the model server, in all its calls; a client may set less (`X-Timeout-Ms`)."""

    grace_seconds: float = Field(default=15.0, ge=0, le=300, validation_alias="TF_SERVER_GRACE_SECONDS")
    """How long the model server may be unavailable while requests wait for it; after that they get 503 at once. Set it
    longer than its start takes; after a longer start it becomes 1.5 times that start, at most 60 s."""

    max_message_bytes: int = Field(
        default=64 << 20, ge=1 << 20, lt=1 << 31, validation_alias="TF_SERVER_MAX_MESSAGE_BYTES"
    )
    """Largest message to and from the model server."""

    ca: FilePath | None = Field(default=None, validation_alias="TF_SERVER_CA")
    """PEM file of the CA of the model server's certificate: calls go over TLS; none: they do not."""

    certificate: FilePath | None = Field(default=None, validation_alias="TF_SERVER_CERTIFICATE")
    """PEM file of the client certificate, where the model server requires one."""

    key: FilePath | None = Field(default=None, validation_alias="TF_SERVER_KEY", validate_default=True)
    """PEM file of the certificate's key."""

    route_key_file: Annotated[FilePath, BeforeValidator(_long_enough)] | None = None
    """File of the key, 32 bytes or more, with which `GET /tf/route` signs tokens for the model servers; none: off."""

    route_port: int = Field(default=9001, ge=1, le=65535)
    """The port that clients with such tokens call: the model servers' `--direct_port`."""

    drain_seconds: float = Field(default=0.5, ge=0, le=300)
    """How long after TERM requests are still accepted, for load balancers to see `/readyz` answer 503."""

    @field_validator("grpc_port", "inventory_port")
    @classmethod
    def _passed_on(cls, value: int, given: ValidationInfo) -> int:
        if value and given.field_name == "grpc_port" and not re.match(_SERVER, given.data.get("server", "")):
            raise ValueError("it needs host:port in TF_SERVER_HOST_PORT")
        if value and given.field_name == "inventory_port" and str(given.data.get("inventory_url")).startswith("https:"):
            raise ValueError("it needs http:// in TF_SERVER_INVENTORY_URL")
        return value

    @field_validator("certificate")
    @classmethod
    def _over_tls(cls, value: Path | None, given: ValidationInfo) -> Path | None:
        if value and not given.data.get("ca"):
            raise ValueError("it needs TF_SERVER_CA")
        return value

    @field_validator("key")
    @classmethod
    def _of_the_certificate(cls, value: Path | None, given: ValidationInfo) -> Path | None:
        if (value is None) != (given.data.get("certificate") is None):
            raise ValueError("TF_SERVER_CERTIFICATE and TF_SERVER_KEY go together")
        try:
            _tls(given.data.get("ca"), given.data.get("certificate"), value)
        except OSError as error:  # an unreadable file, or content that OpenSSL does not accept
            reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            raise ValueError(f"TF_SERVER_CA, TF_SERVER_CERTIFICATE and TF_SERVER_KEY: {reason or error}") from error
        return value

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context for the model server: CA and client certificate; None without TLS. Raises OSError."""
        return _tls(self.ca, self.certificate, self.key)

    @property
    def draining(self) -> Path:
        """A file that exists while the gateway stops."""
        return self.run_dir / "draining"

    @property
    def repeat_lock(self) -> Path:
        """The lock file with which one worker at a time repeats a call that may have crashed the model server."""
        return self.run_dir / "repeat.lock"

    @property
    def socket(self) -> Path:
        """The unix socket between nginx and uWSGI."""
        return self.run_dir / "uwsgi.sock"

    @property
    def probe_socket(self) -> Path:
        """The unix socket for probes: so that they need not wait in the queue of the other one."""
        return self.run_dir / "probes.sock"

    @property
    def listen(self) -> str:
        """host:port as nginx and uWSGI write it."""
        return self.listen_at(self.port)

    def listen_at(self, port: int) -> str:
        """Return host:port with another port, as nginx and uWSGI write it; empty for port 0."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{port}" if port else ""

    @property
    def longest_request(self) -> int:
        """Seconds a legitimate request may take: a slow body, and a few calls to the model server."""
        return int(UPLOAD_SECONDS + self.max_upload_bytes / UPLOAD_RATE + 20 + 4 * self.timeout_seconds)


def _tls(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if ca is None:
        return None
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2"])
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def explain(error: ValidationError) -> str:
    """One line per wrong setting: its environment variable, what was found, what was wanted."""
    wrong = [e for e in error.errors() if e["type"] != "default_factory_not_called"]  # a consequence of the others
    return "\n".join(f"{_variable(str(e['loc'][0]))}={e['input']!r}: {e['msg']}" for e in wrong)


def _variable(name: str) -> str:
    return name if name.isupper() else f"TENSOR_REST_{name.upper()}"
