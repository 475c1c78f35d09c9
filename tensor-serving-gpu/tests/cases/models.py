"""GetModelMetadata, GetModelStatus and HandleReloadConfigRequest, without changing what is served."""

from cases import INVALID, MISSING, Case, spec

_FIELD = "metadata_field: 'signature_def'"


def _state(version: int) -> str:
    return f"model_version_status {{ version: {version} state: AVAILABLE status {{}} }}"


ROWS = [
    Case("every version", "GetModelStatus", spec("versions"), " ".join(map(_state, (3, 2, 1)))),
    Case("one version", "GetModelStatus", spec("versions", version="2"), _state(2)),
    Case("no model_spec", "GetModelStatus", "", code=INVALID, text="Missing ModelSpec"),
    Case(
        "unknown model", "GetModelStatus", spec("nope"), code=MISSING, text="Could not find any versions of model nope"
    ),
    Case("no name", "GetModelStatus", "model_spec {}", code=MISSING, text="Could not find any versions of model "),
    Case(
        "unknown version",
        "GetModelStatus",
        spec("versions", version="9"),
        code=MISSING,
        text="Could not find version 9 of model versions",
    ),
    Case("signatures", "GetModelMetadata", f"{spec('half_plus_two')} {_FIELD}"),
    Case("no model_spec", "GetModelMetadata", _FIELD, code=INVALID, text="Missing ModelSpec"),
    Case(
        "no field",
        "GetModelMetadata",
        spec("half_plus_two"),
        code=INVALID,
        text="GetModelMetadataRequest must specify at least one metadata_field",
    ),
    Case(
        "a wrong field",
        "GetModelMetadata",
        f"{spec('half_plus_two')} {_FIELD} metadata_field: 'size'",
        code=INVALID,
        text="Metadata field size is not supported",
        own_text=True,
    ),
    Case(
        "unknown model",
        "GetModelMetadata",
        f"{spec('nope')} {_FIELD}",
        code=MISSING,
        text="Servable not found for request: Latest(nope)",
    ),
    Case(
        "unknown version",
        "GetModelMetadata",
        f"{spec('versions', version='9')} {_FIELD}",
        code=MISSING,
        text="Servable not found for request: Specific(versions, 9)",
    ),
    Case(
        "no list of models",
        "HandleReloadConfigRequest",
        "",
        code=INVALID,
        text="ServerModelConfig type not supported by HandleReloadConfigRequest. "
        "Only ModelConfigList is currently supported",
    ),
    Case(
        "a custom config",
        "HandleReloadConfigRequest",
        "config { custom_model_config {} }",
        code=INVALID,
        text="ServerModelConfig type not supported by HandleReloadConfigRequest. "
        "Only ModelConfigList is currently supported",
    ),
]
