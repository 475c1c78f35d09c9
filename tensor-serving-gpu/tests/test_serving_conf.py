"""serving.conf: what is accepted means the same to protobuf; what is not is refused with the line."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from tensor_serving.policy import Policy
from tensor_serving.serving_conf import ConfError, ServingConf, parse, read

GOOD = [
    ("", ServingConf()),
    ("# nothing but this\n", ServingConf()),
    ("model_version_policy { all {} }", ServingConf(Policy("all"))),
    ("model_version_policy: { latest: { num_versions: 3 } }", ServingConf(Policy("latest", 3))),
    ("model_version_policy { latest {} }", ServingConf(Policy("latest", 1))),
    (
        "model_version_policy { specific { versions: 5 versions: 7 } }",
        ServingConf(Policy("specific", versions=(5, 7))),
    ),
    ("model_version_policy { specific { versions: [5, 7] } }", ServingConf(Policy("specific", versions=(5, 7)))),
    (
        'version_labels { key: "stable" value: 1 }\nversion_labels { key: "canary", value: 2 }',
        ServingConf(labels={"stable": 1, "canary": 2}),
    ),
]


@pytest.mark.parametrize(("text", "wanted"), GOOD)
def test_accepted_and_understood_as_protobuf_does(text: str, wanted: ServingConf) -> None:
    from tensorflow_serving.config import model_server_config_pb2

    from tensor_serving.embedded.config import parse as parse_config

    assert parse(text) == wanted
    text_format.Parse(text, model_server_config_pb2.ModelConfig())
    whole = f'model_config_list {{ config {{ name: "m" base_path: "/m" model_platform: "tensorflow"\n{text}\n}} }}'
    settings = parse_config(whole)
    assert settings
    assert (settings["m"].policy, settings["m"].labels) == (wanted.policy, wanted.labels)


@pytest.mark.parametrize("value", [True, False])
def test_independent_rows_is_a_field_of_its_own(value: bool) -> None:
    text = f"model_version_policy {{ all {{}} }}\nindependent_rows: {str(value).lower()}  # checked by hand"
    assert parse(text) == ServingConf(Policy("all"), independent_rows=value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model_version_policy {", "line 1: found the end, wanted latest or all or specific"),
        ("\n\nname: 'x'", "line 3: "),
        (
            'base_path: "/etc"',
            "line 1: unknown field base_path, wanted model_version_policy or version_labels or independent_rows",
        ),
        ("model_version_policy { newest {} }", "line 1: unknown field newest, wanted latest or all or specific"),
        ("model_version_policy { }", "line 1: model_version_policy holds 0 policies"),
        ("model_version_policy { all {} latest {} }", "line 1: model_version_policy holds 2 policies"),
        (
            "model_version_policy { all {} } model_version_policy { all {} }",
            "line 1: model_version_policy is given twice",
        ),
        ("model_version_policy { latest { num_versions: 0 } }", "line 1: 0 is not between 1 and 2^63-1"),
        ("model_version_policy { latest { num_versions: 1 num_versions: 2 } }", "line 1: num_versions is given twice"),
        ("model_version_policy { specific { } }", "line 1: specific names no versions"),
        ("model_version_policy { specific { versions: -1 } }", "line 1: unexpected character '-'"),
        ("model_version_policy { specific { versions: 99999999999999999999 } }", "line 1: 99999999999999999999 is not"),
        ('version_labels { key: "stable" }', "line 1: version_labels wants a key and a value"),
        ('version_labels { key: "a b" value: 1 }', "line 1: label 'a b' is not of the form"),
        ('version_labels { key: "\\"" value: 1 }', "line 1: unexpected character"),
        (
            'version_labels { key: "a" value: 1 }\nversion_labels { key: "a" value: 2 }',
            "line 2: label 'a' is given twice",
        ),
        ("independent_rows: yes", "line 1: found yes, wanted true or false"),
        ("independent_rows: 1", "line 1: found 1, wanted true or false"),
        ("independent_rows { true }", "line 1: found {, wanted :"),
        ("independent_rows: true\nindependent_rows: true", "line 2: independent_rows is given twice"),
        ("}", "line 1: found }, wanted model_version_policy or version_labels or independent_rows"),
    ],
)
def test_refused_with_the_line(text: str, reason: str) -> None:
    with pytest.raises(ConfError) as refusal:
        parse(text)
    assert str(refusal.value).startswith(reason)


WORDS = [
    "model_version_policy",
    "version_labels",
    "all",
    "latest",
    "specific",
    "versions",
    "num_versions",
    "key",
    "value",
]
SIGNS = ["{", "}", ":", "[", "]", ",", '"a"', "1", "#", "\n", " "]


@given(st.one_of(st.text(), st.lists(st.sampled_from(WORDS + SIGNS)).map(" ".join)))
def test_any_text_is_read_or_refused_and_never_means_something_else_to_protobuf(text: str) -> None:
    from tensorflow_serving.config import model_server_config_pb2

    try:
        conf = parse(text)
    except ConfError:
        return
    proto = text_format.Parse(text, model_server_config_pb2.ModelConfig())
    assert dict(proto.version_labels) == conf.labels
    assert list(proto.model_version_policy.specific.versions) == list(conf.policy.versions)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "serving.conf"
    assert read(path) == ServingConf()
    for content, reason in ((b"\xff", "not UTF-8"), (b"#" * 70_000, "larger than")):
        path.write_bytes(content)
        with pytest.raises(ConfError, match=reason):
            read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfError, match="cannot be read"):
        read(path)
