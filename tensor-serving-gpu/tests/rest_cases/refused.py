"""REST requests that are refused."""

from rest_cases import HALF, PRODUCT, SEVERAL, WORDS
from rest_cases import RestCase as Case

ELEMENT = "Failed to process element: {} of 'instances' list. Error: INVALID_ARGUMENT: "
ROW = '{"a": [1, 2], "b": [3]}'

BODIES = [
    Case("nothing", HALF, "", status=400, text="JSON Parse error: The document is empty"),
    Case("no JSON", HALF, "instances = [1]", status=400, text="JSON Parse error: Invalid value. at offset: 0"),
    Case("half a document", HALF, '{"instances": [1', status=400, text="JSON Parse error: ", ours=True),
    Case(
        "no colon",
        HALF,
        '{"instances" [1]}',
        status=400,
        text="JSON Parse error: Missing a colon after a name of object member. at offset: 13",
    ),
    Case(
        "more than a document",
        HALF,
        '{"instances": [1]} x',
        status=400,
        text="JSON Parse error: The document root must not be followed by other values. at offset: 19",
    ),
    Case("no object", HALF, "5", status=400, text="JSON Value: 5 Is not object"),
    Case("no instances", HALF, "{}", status=400, text="Missing 'inputs' or 'instances' key"),
    Case("both", HALF, '{"instances": [1], "inputs": [1]}', status=400, text="JSON Value: {"),
    Case("instances no list", HALF, '{"instances": 5}', status=400, text="JSON Value: {"),
    Case("empty instances", HALF, '{"instances": []}', status=400, text="JSON Value: {"),
    Case("signature no string", HALF, '{"signature_name": 5, "instances": [1]}', status=400, text="JSON Value: {"),
    Case(
        "unknown signature",
        HALF,
        '{"signature_name": "none", "instances": [1]}',
        status=400,
        text='Serving signature name: "none" not found in signature def',
    ),
    Case(
        "a string for a float",
        HALF,
        '{"instances": [1, "x"]}',
        status=400,
        text=ELEMENT.format(1) + 'JSON Value: "x" Type: String is not of expected type: float',
    ),
    Case(
        "true for a float",
        HALF,
        '{"instances": [true]}',
        status=400,
        text=ELEMENT.format(0) + "JSON Value: true Type: True is not of expected type: float",
    ),
    Case(
        "null",
        HALF,
        '{"inputs": [null]}',
        status=400,
        text="JSON Value: null Type: Null is not of expected type: float",
    ),
    Case(
        "a decimal for an integer",
        SEVERAL,
        '{"signature_name": "double", "inputs": [1.0]}',
        status=400,
        text="JSON Value: 1.0 Type: Number is not of expected type: int64",
    ),
    Case(
        "an integer a float cannot hold",
        HALF,
        '{"inputs": [16777217]}',
        status=400,
        text="Cannot convert JSON value: 16777217 to float without loss of precision.",
    ),
    Case(
        "a decimal beyond float",
        HALF,
        '{"inputs": [1e39]}',
        status=400,
        text="Cannot convert JSON value: 1e+39 to float without loss of precision.",
    ),
    Case("a number beyond double", HALF, '{"inputs": [1e400]}', status=400, text="JSON Parse error: Number too big"),
    Case(
        "rows of two sizes",
        HALF,
        '{"instances": [[1, 2], [3]]}',
        status=400,
        text=ELEMENT.format(1) + "Expecting tensor size: 2 but got: 1",
    ),
    Case(
        "rows of two shapes",
        HALF,
        '{"instances": [[1, 2], [[3, 4]]]}',
        status=400,
        text=ELEMENT.format(1) + "Expecting shape [2] but got: [1,2]",
    ),
    Case(
        "a ragged row",
        HALF,
        '{"instances": [[[1, 2], [3]]]}',
        status=400,
        text=ELEMENT.format(0) + "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    Case(
        "a ragged column",
        HALF,
        '{"inputs": [[1, 2], 3]}',
        status=400,
        text="JSON Value: 3 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    Case("a list too deep", HALF, '{"inputs": [1, [2]]}', status=400, text="Encountered list at unexpected level: 1"),
    Case(
        "an object among values",
        HALF,
        '{"instances": [1, {"x": 1}]}',
        status=400,
        text="Expecting value/list but got object at item 1 of input list",
    ),
    Case(
        "a value among objects",
        HALF,
        '{"instances": [{"x": 1}, 1]}',
        status=400,
        text="Expecting object but got list at item 1 of input list",
    ),
    Case(
        "an unknown input",
        HALF,
        '{"instances": [{"z": 1}]}',
        status=400,
        text="Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
        "JSON object: does not have named input: z",
    ),
    Case("a missing input", HALF, '{"instances": [{}]}', status=400, text="Failed to process element: 0 of 'inst"),
    Case(
        "rows for two inputs",
        SEVERAL,
        f'{{{PRODUCT}, "instances": [1]}}',
        status=400,
        text="instances is a plain "
        "list, but expecting list of objects as multiple input tensors required as per tensorinfo_map",
    ),
    Case(
        "a column for two inputs",
        SEVERAL,
        f'{{{PRODUCT}, "inputs": [1]}}',
        status=400,
        text="inputs is a plain "
        "value/list, but expecting an object as multiple input tensors required as per tensorinfo_map",
    ),
    Case(
        "a missing column",
        SEVERAL,
        f'{{{PRODUCT}, "inputs": {{"a": [[1, 2]]}}}}',
        status=400,
        text="Missing named input: b in 'inputs' object.",
    ),
    Case(
        "an output without rows",
        SEVERAL,
        f'{{{PRODUCT}, "instances": [{ROW}, {ROW}]}}',
        status=400,
        text="Tensor name: sum has no shape information",
    ),
    Case(
        "no base64",
        SEVERAL,
        f'{{{WORDS}: [{{"b64": "*"}}]}}',
        status=400,
        text=ELEMENT.format(0) + "Unable to base64 decode",
    ),
    Case("base64 for a float", HALF, '{"inputs": {"b64": "aGk="}}', status=400, text="JSON Value: {"),
    Case("a shape the graph refuses", "keras3:predict", '{"instances": [[1, 2, 3]]}', status=400),
    Case(
        "unknown model",
        "nope:predict",
        '{"instances": [1]}',
        status=404,
        text="Servable not found for request: Latest(nope)",
    ),
    Case(
        "unknown version",
        "versions/versions/9:predict",
        '{"instances": [1]}',
        status=404,
        text="Servable not found for request: Specific(versions, 9)",
    ),
    Case(
        "unknown label",
        "versions/labels/x:predict",
        '{"instances": [1]}',
        status=400,
        text="Unrecognized servable version label: x",
    ),
    Case("no examples", "half_plus_two:classify", "{}", status=400, text="JSON Value: {"),
    Case("examples no list", "half_plus_two:classify", '{"examples": {}}', status=400, text="JSON Value: {"),
    Case("empty examples", "half_plus_two:regress", '{"examples": []}', status=400, text="JSON Value: {"),
    Case(
        "an example no object",
        "half_plus_two:regress",
        '{"examples": [1]}',
        status=400,
        text="Example must be JSON object but got JSON Number",
    ),
    Case(
        "a feature of two types",
        "half_plus_two:regress",
        '{"examples": [{"x": [1.0, "a"]}]}',
        status=400,
        text="Unexpected element type in feature: x expecting type: float",
    ),
    Case(
        "a feature of no type",
        "half_plus_two:regress",
        '{"examples": [{"x": [[1.0]]}]}',
        status=400,
        text="Feature: x has element with unexpected JSON type: Array",
    ),
    Case("a signature without classes", "half_plus_two:classify", '{"examples": [{"x": 1.0}]}', status=400),
]

PATHS = [
    Case("status of no model", "nope", status=404, text="Could not find any versions of model nope"),
    Case("status of no version", "versions/versions/9", status=404, text="Could not find version 9 of model versions"),
    Case("metadata of no model", "nope/metadata", status=404, text="Servable not found for request: Latest(nope)"),
    Case("no model", "", status=400, text="Malformed request: GET /v1/models/"),
    Case("GET for POST", HALF, status=400, text=f"Malformed request: GET /v1/models/{HALF}"),
    Case("POST for GET", "half_plus_two", "{}", status=400, text="Malformed request: POST /v1/models/half_plus_two"),
    Case("PUT", "half_plus_two", "{}", status=400, text="Malformed request: PUT /v1/mod", method="PUT"),
    Case(
        "another verb", "half_plus_two:explain", "{}", status=400, text="Malformed request: POST /v1/models/half_plus"
    ),
    Case("a version no number", "versions/versions/x:predict", "{}", status=400, text="Malformed request: POST /v1/m"),
    Case("a version and a label", "versions/versions/1/labels/stable:predict", "{}", status=400, text="Malformed requ"),
    Case("a query", f"{HALF}?a=b", "{}", status=400, text="Malformed request: POST /v1/models/half_plus_two:predict?a"),
    Case(
        "a version too large", f"versions/versions/{2**63}", status=400, text="Failed to convert version: ", ours=True
    ),
]

ROWS = [*BODIES, *PATHS]
