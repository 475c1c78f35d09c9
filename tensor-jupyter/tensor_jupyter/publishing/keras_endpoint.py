"""How a Keras model is called once it is served: its inputs and outputs by the names that clients use.

endpoint = Endpoint.of(model)
endpoint.inputs                    # {"images": TensorSpec((None, 28, 28, 1), uint8)}
endpoint({"images": images})     # {"scores": [[0.1, 0.9], ...]}
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tensor_jupyter.errors import LabError

_NUMBERED = re.compile("(keras_tensor|input_layer|input)(_[0-9]+)?")

TWO_CLASSES = ("probability", "logit")
"""The kinds of score of a model with one score for two classes; its endpoint returns [1 - p, p]."""


@dataclass(frozen=True)
class Endpoint:
    """A model with its inputs: `structure` holds their specs as the model takes them, each named as its alias.

    two_classes: "probability" or "logit" of the second class, where the only output is such a score; else "".
    """

    model: keras.Model
    structure: Any
    two_classes: str = ""

    @classmethod
    def of(cls, model: keras.Model, samples: Any = None) -> "Endpoint":
        """The endpoint of any built model; samples build a subclassed model, and set the types of its inputs.

        Raises LabError where it is unknown what the model takes.
        """
        structure = _symbolic(model)
        if structure is None:
            structure = _called_with(model, samples)
        return cls(model, _named(structure))

    @property
    def inputs(self) -> dict[str, tf.TensorSpec]:
        """The specs by alias; the first dimension is open."""
        return {spec.name: spec for spec in keras.tree.flatten(self.structure)}

    def rows(self, samples: Any) -> dict[str, np.ndarray]:
        """The samples, given as the model takes them or by alias, as arrays [N, ...] by alias, of the inputs' types."""
        inputs = self.inputs
        if isinstance(samples, Mapping) and set(samples) == set(inputs):
            given = [samples[alias] for alias in inputs]
        else:
            given = keras.tree.flatten(samples)
            if len(inputs) == 1 and not isinstance(samples, Mapping):
                rank = len(next(iter(inputs.values())).shape)
                given = given if len(given) == 1 and np.ndim(given[0]) == rank else [samples]
        if len(given) != len(inputs):
            raise LabError(f"samples hold {len(given)} inputs; expected {len(inputs)}: {', '.join(inputs)}.")
        return {
            alias: np.asarray(tf.cast(value, spec.dtype) if spec.dtype != tf.string else tf.constant(value))
            for (alias, spec), value in zip(inputs.items(), given, strict=True)
        }

    def __call__(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs by alias: `scores` [N, classes], `score` [N], or the model's own names."""
        values = keras.tree.pack_sequence_as(self.structure, [given[alias] for alias in self.inputs])
        return self._outputs(self.model(values, training=False))

    def answers(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs that Keras computes for these inputs, by alias."""
        found = self({alias: tf.convert_to_tensor(value) for alias, value in given.items()})
        return {alias: np.asarray(value) for alias, value in found.items()}

    def _outputs(self, found: Any) -> dict[str, Any]:
        named = dict(_paths(found))
        for alias, value in named.items():
            if not tf.is_tensor(value) or isinstance(value, tf.RaggedTensor | tf.SparseTensor):
                raise LabError(
                    f"The model's output {alias or 'value'} is a {type(value).__name__}, which cannot be served: "
                    "return a tensor, as ragged.to_tensor() or tf.sparse.to_dense(sparse)."
                )
        if [*named] == [""]:
            (value,) = named.values()
            if self.two_classes:
                second = value if self.two_classes == "probability" else tf.sigmoid(value)
                return {"scores": tf.concat([1 - second, second], axis=-1)}
            return {{1: "score", 2: "scores"}.get(len(value.shape), "output"): value}
        names = list(getattr(self.model, "output_names", ()))
        if isinstance(found, list | tuple) and len(set(names)) == len(named):
            return dict(zip(names, named.values(), strict=True))
        return {alias if alias[:1].isalpha() else f"output_{alias}": value for alias, value in named.items()}


def _symbolic(model: keras.Model) -> Any:
    """The inputs of a functional or sequential model, None for a subclassed one."""
    if isinstance(model, keras.Sequential) and not model.built:
        return None
    functional = getattr(model, "_functional", None) or model
    return getattr(functional, "_inputs_struct", None)


def _called_with(model: keras.Model, samples: Any) -> Any:
    """The inputs of a subclassed model: those of the samples, else what it was called with before."""
    if samples is not None:
        try:
            arrays = keras.tree.map_structure(_array, samples) if _holds_inputs(samples) else _array(samples)
            model(keras.tree.map_structure(lambda value: tf.convert_to_tensor(value[:1]), arrays), training=False)
        except Exception as error:  # whatever the model's own code raises
            raise LabError(
                f"The model cannot be called with the samples: {' '.join(str(error).split())[:300]}"
            ) from error
        return arrays
    try:
        given = keras.src.export.export_utils.get_input_signature(model)
    except (AttributeError, TypeError, ValueError) as error:
        raise LabError(
            "The inputs of the model are unknown, since it was never called: fit it, call it once, or give a few "
            "inputs as export(..., samples=...)."
        ) from error
    if len(given) != 1:
        raise LabError(
            f"The model's call() takes {len(given)} arguments: let it take its inputs as one dict, as in "
            'call(self, inputs) with inputs["a"], inputs["b"].'
        )
    return given[0]


def _holds_inputs(samples: Any) -> bool:
    """Whether the samples are several inputs, and not the rows of one."""
    if isinstance(samples, list):
        return all(getattr(each, "shape", ()) or isinstance(each, Mapping | tuple) for each in samples)
    return isinstance(samples, Mapping | tuple)


def _array(value: Any) -> np.ndarray:
    found = np.asarray(value)
    return found.astype(np.float32) if found.dtype == np.float64 else found


def _named(structure: Any) -> Any:
    """The same structure of TensorSpecs, each named as clients call the input."""
    leaves = _paths(structure)
    specs = []
    for place, (path, leaf) in enumerate(leaves):
        known = str(getattr(leaf, "name", "") or "")
        if not known or _NUMBERED.fullmatch(known):  # numbered per process, so the name changes each time
            known = "inputs" if len(leaves) == 1 else f"input_{place}"
        name = path if path[:1].isalpha() else known
        if len(leaves) == 1 and len(leaf.shape) == 4 and name != "imgs":
            name = "images"
        dtype = tf.string if getattr(leaf.dtype, "kind", "") in ("O", "S", "U") else leaf.dtype
        specs.append(tf.TensorSpec((None, *leaf.shape[1:]), dtype, _argument(name)))
    if len({spec.name for spec in specs}) < len(specs):
        raise LabError(f"Two inputs of the model have one name: {', '.join(spec.name for spec in specs)}.")
    return keras.tree.pack_sequence_as(structure, specs)


def _argument(name: str) -> str:
    """The name as TensorFlow writes it into a signature."""
    plain = "".join(letter if letter.isalnum() else "_" for letter in name)
    return plain if plain[:1].isalpha() else f"arg_{plain}"


def _paths(structure: Any) -> list[tuple[str, Any]]:
    """The leaves in keras.tree's order, each with its path: keys and indices, joined by "_"."""
    return [("_".join(map(str, path)), leaf) for path, leaf in keras.tree.flatten_with_path(structure)]
