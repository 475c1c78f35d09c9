"""TLS for the gRPC port: the SSLConfig file of --ssl_config_file."""

from pathlib import Path

import grpc

from tensor_serving.embedded import textproto

_FIELDS = {"server_key": "string", "server_cert": "string", "custom_ca": "string", "client_verify": "bool"}


def server_credentials(file: Path) -> grpc.ServerCredentials:
    """Return the credentials in the file, which has key, certificate and CA as PEM text.

    Raises textproto.TextProtoError when the file is invalid. gRPC checks key and certificate when the port is opened.
    """
    config = textproto.read(file, "SSLConfig", _FIELDS)
    for name in ("server_key", "server_cert"):
        if "-----BEGIN " not in getattr(config, name):
            raise textproto.TextProtoError(f"{file}: {name} holds no PEM text, wanted -----BEGIN ...")
    if config.client_verify and not config.custom_ca:
        raise textproto.TextProtoError(f"{file}: client_verify requires custom_ca, the CA of the clients' certificates")
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
