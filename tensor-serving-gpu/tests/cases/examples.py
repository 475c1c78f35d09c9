"""Classify, Regress and MultiInference, answered and refused."""

from cases import INVALID, MISSING, Case, example, listed, spec, task, with_context

TWO = listed(example(x=2), example(x=4))

ROWS = [
    Case(
        "classes and scores",
        "Classify",
        f"{spec('half_plus_two', 'classify')} {TWO}",
        "result { classifications { classes { label: 'low' score: 2 } classes { label: 'high' score: 3 } } "
        "classifications { classes { label: 'low' score: 4 } classes { label: 'high' score: 4 } } } "
        + spec("half_plus_two", "classify", "1"),
    ),
    Case(
        "classes alone",
        "Classify",
        f"{spec('half_plus_two', 'classify_classes')} {listed(example(x=2))}",
        "result { classifications { classes { label: 'low' } classes { label: 'high' } } } "
        + spec("half_plus_two", "classify_classes", "1"),
    ),
    Case(
        "scores alone",
        "Classify",
        f"{spec('half_plus_two', 'classify_scores')} {listed(example(x=2))}",
        "result { classifications { classes { score: 2 } classes { score: 3 } } } "
        + spec("half_plus_two", "classify_scores", "1"),
    ),
    Case(
        "a context is part of every example",
        "Classify",
        f"{spec('half_plus_two', 'classify_scores')} {with_context(example(x=2), example(x2=1), '')}",
        "result { classifications { classes { score: 2 } classes { score: 3 } } "
        "classifications { classes { score: 2 } classes { score: 3 } } } "
        + spec("half_plus_two", "classify_scores", "1"),
    ),
    Case(
        "an example overrules the context",
        "Regress",
        f"{spec('half_plus_two', 'regress')} {with_context(example(x=2), example(x=4))}",
        f"result {{ regressions {{ value: 4 }} }} {spec('half_plus_two', 'regress', '1')}",
    ),
    Case(
        "numbers, [N, 1]",
        "Regress",
        f"{spec('half_plus_two', 'regress')} {TWO}",
        f"result {{ regressions {{ value: 3 }} regressions {{ value: 4 }} }} {spec('half_plus_two', 'regress', '1')}",
    ),
    Case(
        "numbers, [N]",
        "Regress",
        f"{spec('half_plus_two', 'regress_flat')} {TWO}",
        "result { regressions { value: 3 } regressions { value: 4 } } " + spec("half_plus_two", "regress_flat", "1"),
    ),
    Case(
        "a signature of TensorFlow 2 regresses",
        "Regress",
        f"{spec('native', 'regress')} {listed('')}",
        f"result {{ regressions {{ value: 0 }} }} {spec('native', 'regress', '1')}",
    ),
    Case(
        "a signature of TensorFlow 2 classifies",
        "Classify",
        f"{spec('native', 'classify')} {listed('')}",
        f"result {{ classifications {{ classes {{ label: 'a' }} classes {{ }} }} }} {spec('native', 'classify', '1')}",
    ),
    Case(
        "several tasks",
        "MultiInference",
        f"{task('regress', 'regress_x2')} {task('classify', 'classify_scores')} {listed(example(x=2, x2=4))}",
        f"results {{ {spec('half_plus_two', 'regress_x2', '1')} regression_result {{ regressions {{ value: 5 }} }} }} "
        f"results {{ {spec('half_plus_two', 'classify_scores', '1')} "
        "classification_result { classifications { classes { score: 2 } classes { score: 3 } } } }",
    ),
    Case(
        "several tasks of two input tensors, which both get the examples",
        "MultiInference",
        f"{task('regress', 'regress')} {task('regress', 'regress_length')} {listed(example(x=2))}",
        f"results {{ {spec('half_plus_two', 'regress', '1')} regression_result {{ regressions {{ value: 3 }} }} }} "
        f"results {{ {spec('half_plus_two', 'regress_length', '1')} "
        "regression_result { regressions { value: 17 } } }",
    ),
]


def _unfit(method: str, signature: str, text: str) -> Case:
    """Return a row of a signature that is not fit for the method."""
    return Case(signature, method, f"{spec('half_plus_two', signature)} {TWO}", code=INVALID, text=text)


ROWS += [
    _unfit("Classify", "nope", "No signature was found with the name: nope"),
    _unfit("Regress", "nope", "No signature was found with the name: nope"),
    _unfit("Classify", "serving_default", "No classification inputs found in SignatureDef: "),
    _unfit("Classify", "classify_no_inputs", "No classification inputs found in SignatureDef: "),
    _unfit("Classify", "classify_two_inputs", "Expected one input Tensor."),
    _unfit("Classify", "classify_three", "Expected one or two output Tensors, found 3"),
    _unfit(
        "Classify",
        "classify_no_outputs",
        'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: ',
    ),
    _unfit("Classify", "classify_flat", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
    _unfit("Classify", "classify_numbers", "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
    _unfit("Classify", "classify_double", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
    _unfit("Classify", "classify_short", "Expected scores output batch size of 2. Got: 1"),
    _unfit("Classify", "classify_uneven", "Tensors class and score should match in dim_size(1). Got 2 vs. 1"),
    _unfit("Regress", "serving_default", "No regression inputs found in SignatureDef: "),
    _unfit("Regress", "regress_no_inputs", "No regression inputs found in SignatureDef: "),
    _unfit("Regress", "regress_no_outputs", "No regression outputs found in SignatureDef: "),
    _unfit("Regress", "regress_two", "Expected one output Tensor."),
    _unfit(
        "Regress",
        "regress_wide",
        "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
    ),
    _unfit("Regress", "regress_short", "Input batch size did not match output batch size: 2 vs. 1"),
    _unfit("Regress", "regress_double", "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
]
EMPTY = "Input is empty."
ROWS += [
    Case("Classify: no input", "Classify", spec("half_plus_two", "classify"), code=INVALID, text=EMPTY),
    Case(
        "Regress: an empty list", "Regress", f"{spec('half_plus_two', 'regress')} {listed()}", code=INVALID, text=EMPTY
    ),
    Case(
        "Regress: a context alone",
        "Regress",
        f"{spec('half_plus_two', 'regress')} {with_context(example(x=2))}",
        code=INVALID,
        text=EMPTY,
    ),
    Case("Classify: no model_spec", "Classify", TWO, code=INVALID, text="Missing ModelSpec"),
    Case(
        "Regress: no name", "Regress", f"model_spec {{}} {TWO}", code=INVALID, text="ModelSpec has no name specified."
    ),
    Case(
        "Regress: unknown model",
        "Regress",
        f"{spec('nope')} {TWO}",
        code=MISSING,
        text="Servable not found for request: Latest(nope)",
    ),
    Case(
        "Classify: a feature is missing",
        "Classify",
        f"{spec('half_plus_two', 'classify')} {listed(example(z=1))}",
        code=INVALID,
        text="Name: <unknown>, Feature: x (data type: float) is required but could not be found.",
    ),
    Case("MultiInference: no task", "MultiInference", TWO, code=INVALID, text="ModelSpec has no name specified."),
    Case("MultiInference: no examples", "MultiInference", task("regress", "regress"), code=INVALID, text=EMPTY),
    Case(
        "MultiInference: a task without a model",
        "MultiInference",
        f"{task('regress', 'regress')} tasks {{ method_name: 'tensorflow/serving/classify' }} {TWO}",
        code=INVALID,
        text="Found ModelSpec with an empty model name.",
    ),
    Case(
        "MultiInference: two models",
        "MultiInference",
        f"{task('regress', 'regress')} {task('regress', 'regress', 'native')} {TWO}",
        code=INVALID,
        text="All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    ),
    Case(
        "MultiInference: one signature twice",
        "MultiInference",
        f"{task('regress', 'regress')} {task('regress', 'regress')} {TWO}",
        code=INVALID,
        text="Duplicate evaluation of signature: regress",
    ),
    Case(
        "MultiInference: unknown signature",
        "MultiInference",
        f"{task('regress', 'nope')} {TWO}",
        code=INVALID,
        text="Requested signature not found in model graph: nope",
    ),
    Case(
        "MultiInference: Predict",
        "MultiInference",
        f"{task('predict', 'serving_default')} {TWO}",
        code="UNIMPLEMENTED",
        text="Unsupported signature method_name: tensorflow/serving/predict",
    ),
    Case(
        "MultiInference: a signature that cannot",
        "MultiInference",
        f"{task('classify', 'regress')} {TWO}",
        code=INVALID,
        text="Expected classification signature outputs to contain at least one of ",
    ),
    Case(
        "MultiInference: unknown version",
        "MultiInference",
        f"tasks {{ {spec('half_plus_two', 'regress', '9')} method_name: 'tensorflow/serving/regress' }} {TWO}",
        code=MISSING,
        text="Servable not found for request: Specific(half_plus_two, 9)",
    ),
]
