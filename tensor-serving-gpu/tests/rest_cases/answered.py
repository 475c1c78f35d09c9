"""REST requests that are answered."""

from math import inf, nan
from typing import Any

from rest_cases import HALF, NATIVE, PRODUCT, SEVERAL, WORDS
from rest_cases import RestCase as Case

AVAILABLE = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}


def _versions(*numbers: int) -> dict[str, Any]:
    return {"model_version_status": [{"version": str(number), **AVAILABLE} for number in numbers]}


PREDICT = [
    Case("rows", HALF, '{"instances": [1.0, 2.0, 5.0]}', {"predictions": [2.5, 3.0, 4.5]}),
    Case("rows of lists", HALF, '{"instances": [[1.0], [2]]}', {"predictions": [[2.5], [3.0]]}),
    Case("rows of objects", HALF, '{"instances": [{"x": 1}, {"x": 2}]}', {"predictions": [2.5, 3.0]}),
    Case("a column", HALF, '{"inputs": [[1.0], [2.0]]}', {"outputs": [[2.5], [3.0]]}),
    Case("a column by name", HALF, '{"inputs": {"x": [1.0]}}', {"outputs": [2.5]}),
    Case("a scalar", HALF, '{"inputs": 2.0}', {"outputs": 3.0}),
    Case("an integer float rounds", HALF, '{"inputs": [16777217, 1700000000]}', {"outputs": [8388610.0, 850000000.0]}),
    Case("a decimal beyond float", HALF, '{"inputs": [1e39, -1e39, 0]}', {"outputs": [inf, -inf, 2.0]}),
    Case("a short infinity", HALF, '{"instances": [Inf, -Inf]}', {"predictions": [inf, -inf]}),
    Case("a byte order mark", HALF, '\ufeff{"instances": [1.0]}', {"predictions": [2.5]}),
    Case("text after the document", HALF, '{"instances": [1]} x', {"predictions": [2.5]}),
    Case("another document after it", HALF, '{"instances": [1]}{"instances": [NaN]}', {"predictions": [2.5]}),
    Case("no rows in the answer", HALF, '{"instances": [[]]}', {"predictions": [[]]}),
    Case(
        "rows of nothing",
        NATIVE,
        '{"signature_name": "nothing", "instances": [1, 2]}',
        {"predictions": []},
    ),
    Case(
        "a half",
        NATIVE,
        '{"signature_name": "half", "instances": [4000, 0.5, 70000]}',
        {"predictions": [4000.0, 0.5, inf]},
    ),
    Case(
        "other members are passed over",
        HALF,
        '{"instances": [1], "model": "half_plus_two", "parameters": {"a": [1, "x"]}}',
        {"predictions": [2.5]},
    ),
    Case(
        "other columns are passed over",
        SEVERAL,
        '{"signature_name": "double", "inputs": {"n": [1], "m": ["x"]}}',
        {"outputs": {"even": [False], "twice": [2]}},
    ),
    Case(
        "of equal keys the last one counts",
        HALF,
        '{"instances": [0], "instances": [2]}',
        {"predictions": [3.0]},
        ours="as in every JSON parser of today; the real server takes the first",
    ),
    Case("an empty column", HALF, '{"inputs": []}', {"outputs": []}),
    Case("a signature", HALF, '{"signature_name": "serving_default", "instances": [2]}', {"predictions": [3.0]}),
    Case("NaN and infinities", HALF, '{"instances": [NaN, Infinity, -Infinity]}', {"predictions": [nan, inf, -inf]}),
    Case(
        "several inputs and outputs",
        NATIVE,
        '{"signature_name": "any_shape", "inputs": [[1, 2], [3, 4]]}',
        {"outputs": {"shape": [2, 2], "y": [[2, 4], [6, 8]]}},
    ),
    Case(
        "columns by name",
        SEVERAL,
        f'{{{PRODUCT}, "inputs": {{"a": [[1, 2]], "b": [[3], [4]]}}}}',
        {"outputs": {"product": [[11.0]], "sum": 3.0}},
    ),
    Case(
        "strings, and several outputs as rows",
        SEVERAL,
        f'{{{WORDS}: ["ab", "z\\u0000"]}}',
        {"predictions": [{"length": 2, "upper": "AB"}, {"length": 2, "upper": "Z\x00"}]},
    ),
    Case(
        "base64",
        SEVERAL,
        f'{{{WORDS}: [{{"b64": "aGk="}}, "x"]}}',
        {"predictions": [{"length": 2, "upper": "HI"}, {"length": 1, "upper": "X"}]},
    ),
    Case(
        "base64 with line breaks, and without padding",
        SEVERAL,
        f'{{{WORDS}: [{{"b64": "aG\\nk=\\r\\n"}}, {{"b64": "aGk"}}, {{"b64": "aA.."}}]}}',
        {"predictions": [{"length": 2, "upper": "HI"}, {"length": 2, "upper": "HI"}, {"length": 1, "upper": "H"}]},
    ),
    Case(
        "integers and booleans",
        SEVERAL,
        '{"signature_name": "double", "instances": [1, 4611686018427387903]}',
        {"predictions": [{"even": False, "twice": 2}, {"even": False, "twice": 9223372036854775806}]},
    ),
    Case("a version", "versions/versions/2:predict", '{"instances": [2]}', {"predictions": [3.0]}),
    Case("a label", "versions/labels/stable:predict", '{"instances": [2]}', {"predictions": [2.0]}),
    Case("the newest version", "versions:predict", '{"instances": [2]}', {"predictions": [4.0]}),
    Case("an escaped name", "%76ersions/labels/%73table:predict", '{"instances": [2]}', {"predictions": [2.0]}),
]

CLASSIFY = [
    Case(
        "classes",
        "half_plus_two:classify",
        '{"signature_name": "classify", "examples": [{"x": 2.0}, {"x": [4.5]}]}',
        {"results": [[["low", 2.0], ["high", 3.0]], [["low", 4.5], ["high", 4.25]]]},
    ),
    Case(
        "classes without scores",
        "half_plus_two:classify",
        '{"signature_name": "classify_classes", "examples": [{"x": 2.0}]}',
        {"results": [[["low", 0.0], ["high", 0.0]]]},
    ),
    Case(
        "scores without classes",
        "half_plus_two:classify",
        '{"signature_name": "classify_scores", "examples": [{"x": 0.1}]}',
        {"results": [[["", 0.1], ["", 2.05]]]},
    ),
    Case(
        "numbers",
        "half_plus_two:regress",
        '{"signature_name": "regress", "examples": [{"x": 2.0}, {"x": 3.1}]}',
        {"results": [3.0, 3.55]},
    ),
    Case(
        "a context",
        "half_plus_two:regress",
        '{"signature_name": "regress_x2", "context": {"x2": 4.0}, "examples": [{"x": 1.0}, {"x": 1.0, "x2": 8.0}]}',
        {"results": [5.0, 7.0]},
    ),
]

STATUS = [
    Case("status", "half_plus_two", None, _versions(1)),
    Case("status of all versions", "versions", None, _versions(3, 2, 1)),
    Case("status of a version", "versions/versions/2", None, _versions(2)),
    Case("status ignores a label", "versions/labels/canary", None, _versions(3, 2, 1)),
    Case("status ignores an unknown label", "versions/labels/none", None, _versions(3, 2, 1)),
]

ROWS = [*PREDICT, *CLASSIFY, *STATUS]
