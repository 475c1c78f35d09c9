"""The input of Classify, Regress and MultiInference: tf.Examples, which the graph gets as a vector of their bytes.

Whether a signature fits these methods depends on its aliases only. Its method_name is ignored, as in TF Serving without
--enable_signature_method_name_check: models written by TensorFlow 2 all have "predict" there.
"""

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import input_pb2

from tensor_serving.embedded.errors import ServingError, invalid
from tensor_serving.embedded.predict import DEFAULT_SIGNATURE, Signatures
from tensor_serving.embedded.tensors import MAX_BYTES, Array

INPUTS = "inputs"  # the alias of the examples in all of these signatures
_MAX_EXAMPLES = 1 << 20  # in one request: 60 MB can hold 30 million empty ones, a minute's work
_DTYPES = {"object": "DT_STRING", "float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF"}


def to_array(given: input_pb2.Input) -> Array:
    """Return the examples as an object array of bytes, [N].

    A context becomes part of every example. Raises INVALID_ARGUMENT when there are no examples, too many, or too large
    a context to repeat for each; TF Serving has no such bounds.
    """
    examples, context = given.example_list.examples, b""
    if given.HasField("example_list_with_context"):
        examples = given.example_list_with_context.examples
        context = given.example_list_with_context.context.SerializeToString()
    if not examples:
        raise invalid("Input is empty.")
    if len(examples) > _MAX_EXAMPLES:
        raise invalid(f"Input has {len(examples)} examples, at most {_MAX_EXAMPLES} are taken: send fewer at a time")
    if len(context) * len(examples) > MAX_BYTES:
        raise invalid(
            f"Input has {len(examples)} examples with a context of {len(context)} bytes: send fewer at a time"
        )
    array = np.empty(len(examples), dtype=object)
    # Protobuf merges concatenated messages: for the graph, context and example are one message.
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def key_of(name: str) -> str:
    """Return the signature's key: the default one for an empty name."""
    return name or DEFAULT_SIGNATURE


def find(signatures: Signatures, key: str) -> meta_graph_pb2.SignatureDef:
    """Return the signature. Raises INVALID_ARGUMENT when there is none of this key."""
    signature = signatures.get(key)
    if signature is None:
        raise invalid(f"No signature was found with the name: {key}")
    return signature


def shape(array: Array) -> str:
    """Return the array's shape as TensorFlow writes it."""
    return f"[{','.join(map(str, array.shape))}]"


def dtype(array: Array) -> str:
    """Return the array's dtype as TensorFlow's enum names it."""
    return _DTYPES.get(array.dtype.name, f"DT_{array.dtype.name.upper()}")


def unfit(text: str, signature: meta_graph_pb2.SignatureDef) -> ServingError:
    """Return the error for a signature that cannot serve the request; as in TF Serving it shows the signature."""
    return invalid(f"{text}{signature}")
