"""Predict, refused."""

from cases import INVALID, MISSING, UNFIT, Case, column, floats, put, row, spec, tensor

HALF = spec("half_plus_two")
ONE = put("x", column(2))
PARSING = "tensor parsing error: x"
FIVE_BYTES, EIGHT_BYTES = "tensor_content: '12345'", "tensor_content: '12345678'"

ROWS = [
    Case("no model_spec", "Predict", ONE, code=INVALID, text="Missing ModelSpec"),
    Case("no name", "Predict", f"model_spec {{}} {ONE}", code=INVALID, text="ModelSpec has no name specified."),
    Case(
        "unknown model",
        "Predict",
        f"{spec('nope')} {ONE}",
        code=MISSING,
        text="Servable not found for request: Latest(nope)",
    ),
    Case(
        "unknown version",
        "Predict",
        f"{spec('half_plus_two', version='9')} {ONE}",
        code=MISSING,
        text="Servable not found for request: Specific(half_plus_two, 9)",
    ),
    Case(
        "unknown label",
        "Predict",
        f"{spec('versions', version='best')} {ONE}",
        code=INVALID,
        text="Unrecognized servable version label: best",
    ),
    Case(
        "unknown signature",
        "Predict",
        f"{spec('half_plus_two', 'nope')} {ONE}",
        code=UNFIT,
        text='Serving signature key "nope" not found.',
    ),
    Case(
        "no input",
        "Predict",
        HALF,
        code=INVALID,
        text="input size does not match signature: 0!=1 len({}) != "
        "len({x}). Sent extra: {}. Missing but required: {x}.",
    ),
    Case(
        "one input too many",
        "Predict",
        f"{HALF} {ONE} {put('z', row(1))}",
        code=INVALID,
        text="input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
        "Missing but required: {}.",
    ),
    Case(
        "wrong alias",
        "Predict",
        f"{HALF} {put('z', row(1))}",
        code=INVALID,
        text="Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
        "Inputs expected to be in the request {z}, or default input alias set: ",
    ),
    Case(
        "wrong alias in place of one with a default",
        "Predict",
        f"{spec('native', 'plus')} {put('x', row(1))} {put('z', row(1))}",
        code=INVALID,
        text="Inputs contains invalid name. Used request inputs: x, request input: x,z",
    ),
    Case(
        "wrong dtype",
        "Predict",
        f"{HALF} {put('x', tensor('DOUBLE', '1', 'double_val: 1'))}",
        code=INVALID,
        text="Expects arg[0] to be float but double is provided",
        own_text=True,
    ),
    Case(
        "numbers for strings",
        "Predict",
        f"{spec('several', 'shout')} {put('text', row(1))}",
        code=INVALID,
        text="Expects arg[0] to be string but float is provided",
        own_text=True,
    ),
    Case(
        "unknown output",
        "Predict",
        f"{HALF} {ONE} output_filter: 'z'",
        code=INVALID,
        text="output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
    ),
    Case(
        "an output requested twice",
        "Predict",
        f"{HALF} {ONE} output_filter: ['y', 'y']",
        code=INVALID,
        text="duplicate output tensor alias: y",
    ),
    Case(
        "shapes that do not go together",
        "Predict",
        f"{spec('several', 'product')} "
        f"{put('a', tensor('FLOAT', '1 3', floats(1, 2, 3)))} {put('b', tensor('FLOAT', '2 1', floats(1, 2)))}",
        code=INVALID,
        text="Matrix size-incompatible: In[0]: [1,3], In[1]: [2,1]",
    ),
    Case(
        "tensor_content of no whole float",
        "Predict",
        f"{HALF} {put('x', tensor('FLOAT', '3', FIVE_BYTES))}",
        code=INVALID,
        text=PARSING,
    ),
    Case(
        "tensor_content too short",
        "Predict",
        f"{HALF} {put('x', tensor('FLOAT', '3', EIGHT_BYTES))}",
        code=INVALID,
        text=PARSING,
    ),
    Case(
        "tensor_content too long",
        "Predict",
        f"{HALF} {put('x', tensor('FLOAT', '1', EIGHT_BYTES))}",
        code=INVALID,
        text=PARSING,
    ),
    Case(
        "a negative dimension",
        "Predict",
        f"{HALF} {put('x', tensor('FLOAT', '-1', floats(1)))}",
        code=INVALID,
        text=PARSING,
    ),
    Case(
        "an overflowing shape",
        "Predict",
        f"{HALF} {put('x', tensor('FLOAT', '4611686018427387904 4611686018427387904', floats(1)))}",
        code=INVALID,
        text=PARSING,
    ),
    Case(
        "no dtype",
        "Predict",
        f"{HALF} {put('x', 'tensor_shape { dim { size: 1 } } ' + floats(1))}",
        code=INVALID,
        text=PARSING,
    ),
    Case(
        "a resource",
        "Predict",
        f"{HALF} {put('x', tensor('RESOURCE', '1'))}",
        code=INVALID,
        text=PARSING,
        own_text=True,
    ),
]
