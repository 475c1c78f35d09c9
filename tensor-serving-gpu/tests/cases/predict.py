"""Predict, answered."""

from cases import Case, column, floats, got, put, row, spec, tensor

HALF = spec("half_plus_two")
ANSWERED = spec("half_plus_two", "serving_default", "1")
STRING = "string_val: 'abc'"
PAIR = tensor("STRING", "1 2", "string_val: ['aabc', 'abc']")
WORDS = tensor("STRING", "2", r"string_val: ['ab', 'z\000']")
UPPER = tensor("STRING", "2", r"string_val: ['AB', 'Z\000']")
CONTENT = tensor("FLOAT", "2", r"tensor_content: '\0\0\0@\0\0\200@'")
SPECIAL = tensor("FLOAT", "3", "float_val: [nan, inf, -inf]")

ROWS = [
    Case("a column", "Predict", f"{HALF} {put('x', column(0, 2, 5))}", f"{ANSWERED} {got('y', column(2, 3, 4.5))}"),
    Case(
        "a row, though the signature says [-1, 1]",
        "Predict",
        f"{HALF} {put('x', row(2))}",
        f"{ANSWERED} {got('y', row(3))}",
    ),
    Case(
        "a scalar",
        "Predict",
        f"{HALF} {put('x', tensor('FLOAT', '', floats(2)))}",
        f"{ANSWERED} {got('y', tensor('FLOAT', '', floats(3)))}",
    ),
    Case(
        "an empty batch",
        "Predict",
        f"{HALF} {put('x', tensor('FLOAT', '0 1'))}",
        f"{ANSWERED} {got('y', tensor('FLOAT', '0 1'))}",
    ),
    Case(
        "NaN and infinities pass",
        "Predict",
        f"{HALF} {put('x', SPECIAL)}",
        f"{ANSWERED} {got('y', SPECIAL)}",
    ),
    Case(
        "tensor_content",
        "Predict",
        f"{HALF} {put('x', CONTENT)}",
        f"{ANSWERED} {got('y', row(3, 4))}",
    ),
    Case(
        "tensor_content counts when there are values too",
        "Predict",
        f"{HALF} {put('x', CONTENT + ' ' + floats(8, 8))}",
        f"{ANSWERED} {got('y', row(3, 4))}",
    ),
    Case(
        "few values are continued with the last",
        "Predict",
        f"{HALF} {put('x', tensor('FLOAT', '3', floats(2, 4)))}",
        f"{ANSWERED} {got('y', row(3, 4, 4))}",
    ),
    Case(
        "of more values than the shape wants the first count",
        "Predict",
        f"{HALF} {put('x', tensor('FLOAT', '2', floats(2, 4, 6)))}",
        f"{ANSWERED} {got('y', row(3, 4))}",
    ),
    Case(
        "an unknown rank is a scalar",
        "Predict",
        f"{HALF} {put('x', 'dtype: DT_FLOAT tensor_shape { unknown_rank: true } ' + floats(2))}",
        f"{ANSWERED} {got('y', tensor('FLOAT', '', floats(3)))}",
    ),
    Case(
        "no values are zeros",
        "Predict",
        f"{HALF} {put('x', tensor('FLOAT', '2'))}",
        f"{ANSWERED} {got('y', row(2, 2))}",
    ),
    Case(
        "the requested version",
        "Predict",
        f"{spec('versions', version='2')} {put('x', row(2))}",
        f"{spec('versions', 'serving_default', '2')} {got('y', row(3))}",
    ),
    Case(
        "the newest version",
        "Predict",
        f"{spec('versions')} {put('x', row(2))}",
        f"{spec('versions', 'serving_default', '3')} {got('y', row(4))}",
    ),
    Case(
        "the version labelled",
        "Predict",
        f"{spec('versions', version='stable')} {put('x', row(2))}",
        f"{spec('versions', 'serving_default', '1')} {got('y', row(2))}",
    ),
    Case(
        "strings in and out",
        "Predict",
        f"{spec('several', 'shout')} {put('text', WORDS)}",
        f"{spec('several', 'shout', '1')} {got('upper', UPPER)} "
        f"{got('length', tensor('INT32', '2', 'int_val: [2, 2]'))}",
    ),
    Case(
        "integers in, booleans out",
        "Predict",
        f"{spec('several', 'double')} {put('n', tensor('INT64', '2', 'int64_val: [1099511627776, -3]'))}",
        f"{spec('several', 'double', '1')} {got('twice', tensor('INT64', '2', 'int64_val: [2199023255552, -6]'))} "
        f"{got('even', tensor('BOOL', '2', 'bool_val: [true, false]'))}",
    ),
    Case(
        "two inputs",
        "Predict",
        f"{spec('several', 'product')} {put('a', tensor('FLOAT', '1 2', floats(1, 2)))} "
        f"{put('b', tensor('FLOAT', '2 1', floats(3, 4)))}",
        f"{spec('several', 'product', '1')} {got('product', column(11))} {got('sum', tensor('FLOAT', '', floats(3)))}",
    ),
    Case(
        "an output filter",
        "Predict",
        f"{spec('several', 'shout')} {put('text', tensor('STRING', '1', STRING))} output_filter: 'length'",
        f"{spec('several', 'shout', '1')} {got('length', tensor('INT32', '1', 'int_val: 3'))}",
    ),
    Case(
        "a default for the input left out",
        "Predict",
        f"{spec('native', 'plus')} {put('x', row(1))}",
        f"{spec('native', 'plus', '1')} {got('y', row(11))}",
    ),
    Case(
        "no default for the input given",
        "Predict",
        f"{spec('native', 'plus')} {put('x', row(1))} {put('more', tensor('FLOAT', '', floats(2)))}",
        f"{spec('native', 'plus', '1')} {got('y', row(3))}",
    ),
    Case(
        "bfloat16 and complex outputs",
        "Predict",
        f"{spec('native', 'numbers')} {put('x', row(1.5))}",
        f"{spec('native', 'numbers', '1')} {got('brain', tensor('BFLOAT16', '1', 'half_val: 16320'))} "
        f"{got('complex', tensor('COMPLEX64', '1', 'scomplex_val: [1.5, 0]'))} {got('y', row(1.5))}",
    ),
    Case(
        "a scalar signature",
        "Predict",
        f"{spec('native', 'scalar')} {put('x', tensor('FLOAT', '', floats(3)))}",
        f"{spec('native', 'scalar', '1')} {got('y', tensor('FLOAT', '', floats(1.5)))}",
    ),
    Case(
        "a signature of unknown rank",
        "Predict",
        f"{spec('native', 'any_shape')} {put('x', tensor('INT32', '1 1 2', 'int_val: [1, 2]'))}",
        f"{spec('native', 'any_shape', '1')} {got('y', tensor('INT32', '1 1 2', 'int_val: [2, 4]'))} "
        f"{got('shape', tensor('INT32', '3', 'int_val: [1, 1, 2]'))}",
    ),
    Case(
        "a Keras 2 export",
        "Predict",
        f"{spec('keras2')} {put('dense_input', tensor('FLOAT', '1 2', floats(2, 3)))}",
        f"{spec('keras2', 'serving_default', '1')} {got('dense', column(5))}",
    ),
    Case(
        "a Keras 3 export",
        "Predict",
        f"{spec('keras3')} {put('keras_tensor', tensor('FLOAT', '1 2', floats(2, 3)))}",
        f"{spec('keras3', 'serving_default', '1')} {got('output_0', column(5))}",
    ),
    Case(
        "Predict by a signature for Classify",
        "Predict",
        f"{spec('native', 'classify')} {put('inputs', tensor('STRING', '1', STRING))}",
        f"{spec('native', 'classify', '1')} {got('classes', PAIR)}",
    ),
]
