"""One SavedModel in memory, and running it.

It is loaded as by the C++ server, as a graph in a session, with TensorFlow's C API (see `native`). TensorFlow's Python
package is not imported, because that takes 200 MB and longer than the rest of the start.
"""

import logging
from pathlib import Path

import grpc
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import ServingError, invalid
from tensor_serving.embedded.freezing import Freezer
from tensor_serving.embedded.native.session import Ends, Session
from tensor_serving.embedded.tensors import Array
from tensor_serving.savedmodel import SavedModelValidator

log = logging.getLogger(__name__)

# Requests may name any subset of a signature's outputs. The library prepares a graph for every subset and keeps it
# until the model is closed, so their number is bounded.
_MAX_SUBSETS = 64

# Frozen weights are in memory several times, and once more for every subset of the outputs.
_MAX_FROZEN_BYTES = 32 * 1024 * 1024  # bytes of a model's weights
_MAX_FROZEN_SETS = 4
_MAX_GRAPH_BYTES = 16 * 1024 * 1024  # bytes of a saved_model.pb; a larger one has its weights in the graph already


class Model:
    """A loaded SavedModel; `signatures` are its SignatureDefs by key. Any number of threads may call `run`.

    TensorFlow's threads belong to the process: the numbers that the first model sets hold for all; 0 means one for each
    core. With `freeze`, small models whose weights never change are frozen (see `freezing`).
    Raises ServingError when it cannot be loaded.
    """

    def __init__(self, folder: Path, intra_op_threads: int = 0, inter_op_threads: int = 0, freeze: bool = True) -> None:
        # The loader ignores a missing variables folder, and every call would fail then. The watcher checks which
        # operations may run.
        if reason := SavedModelValidator(allowed={"*"}).problem(folder):
            raise ServingError(grpc.StatusCode.NOT_FOUND, f"{folder}: {reason}")
        config = config_pb2.ConfigProto(
            intra_op_parallelism_threads=intra_op_threads,
            inter_op_parallelism_threads=inter_op_threads,
            gpu_options=config_pb2.GPUOptions(allow_growth=True),  # or the first model takes the whole GPU
        )
        options = config_pb2.RunOptions()
        if inter_op_threads < 2:  # in the calling thread: without the hand-over a small model takes a third less time
            options.inter_op_thread_pool = -1
        self._session = Session(folder, config.SerializeToString(), options.SerializeToString())
        self.signatures: dict[str, meta_graph_pb2.SignatureDef] = self._session.signatures
        self._ranked = self._inputs_of_fixed_rank()
        self._ends: dict[tuple[tuple[str, ...], tuple[str, ...]], Ends] = {}
        self._frozen = self._freeze(folder) if freeze else frozenset()

    def run(self, call: Call) -> list[Array]:
        """Return one array per tensor fetched, in their order; strings as object arrays of bytes.

        Blocks without holding the GIL. The arrays are read-only. Raises ServingError with TensorFlow's own code and
        text when the graph fails.
        """
        if self._ranked:
            self._check_ranks(call)
        ends = self._ends.get((call.feeds, call.fetches))
        if ends:
            return self._session.run(ends, call.values)
        if len(self._ends) < _MAX_SUBSETS:
            return self._session.run(self._look_up(call.feeds, call.fetches), call.values)
        fetches = self._all_outputs(call)
        outputs = self._session.run(self._look_up(call.feeds, fetches), call.values)
        return [outputs[fetches.index(name)] for name in call.fetches]

    def close(self) -> None:
        """Free the memory. No call may be in flight."""
        self._ends.clear()
        self._session.close()

    def _inputs_of_fixed_rank(self) -> dict[str, list[int]]:
        """Return the inputs whose number of dimensions must be the signature's: their shapes by tensor name.

        Usually the graph decides what it accepts. But kernels with a data format (convolution, pooling, ...) crash the
        process when dimensions are missing, in TF Serving as well. Only BiasAdd is known to be harmless; models whose
        operations are unknown are checked too.
        """
        operations = self._session.operations
        formats = {op.name for op in operations if any(attribute.name == "data_format" for attribute in op.attr)}
        if operations and formats <= {"BiasAdd"}:
            return {}
        infos = [info for signature in self.signatures.values() for info in signature.inputs.values()]
        shapes = {info.name: info.tensor_shape for info in infos if not info.tensor_shape.unknown_rank}
        return {name: [dim.size for dim in shape.dim] for name, shape in shapes.items()}

    def _check_ranks(self, call: Call) -> None:
        for name, value in zip(call.feeds, call.values, strict=True):
            wanted = self._ranked.get(name)
            if wanted is not None and value.ndim != len(wanted):
                inputs = self.signatures[call.signature].inputs if call.signature in self.signatures else {}
                alias = next((alias for alias, info in inputs.items() if info.name == name), name)
                raise invalid(f"{alias} has the shape {list(value.shape)}, but the signature expects {wanted}")

    def _look_up(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Ends:
        ends = self._ends.get((feeds, fetches))
        if not ends:
            frozen = len(self._ends) < _MAX_FROZEN_SETS and self._frozen.issuperset(feeds + fetches)
            prefix = "frozen/" if frozen else ""
            ends = self._session.ends([prefix + name for name in feeds], [prefix + name for name in fetches])
            self._ends[feeds, fetches] = ends
        return ends

    def _freeze(self, folder: Path) -> frozenset[str]:
        """Add a frozen copy of the part of the graph that the signatures need, if the model is small enough.

        Return the names of the tensors in it; in the copy they are prefixed with `frozen/`.
        """
        ends = [end for signature in self.signatures.values() for end in (signature.inputs, signature.outputs)]
        names = frozenset(info.name for infos in ends for info in infos.values() if info.name)
        if any(file.stat().st_size > _MAX_GRAPH_BYTES for file in folder.glob("saved_model.*")):
            return frozenset()
        freezer = Freezer(self._session.graph(), names)
        if not 0 < freezer.nbytes <= _MAX_FROZEN_BYTES:
            return frozenset()
        try:
            self._session.add(freezer.readings(), "reading")
            readings = self._session.ends((), [f"reading/{name}/read:0" for name in freezer.variables])
            values = dict(zip(freezer.variables, self._session.run(readings, ()), strict=True))
            self._session.add(freezer.frozen(values), "frozen")
        except ServingError as error:  # the model can be served without freezing
            log.warning("%s is served as it is, its weights cannot be frozen: %s", folder, error.text)
            return frozenset()
        return names

    def _all_outputs(self, call: Call) -> tuple[str, ...]:
        """Return all outputs of the signatures with exactly these inputs: one set of outputs for each set of inputs."""
        found = set(call.fetches)
        for signature in self.signatures.values():
            if {info.name for info in signature.inputs.values()} == set(call.feeds):
                found |= {info.name for info in signature.outputs.values() if info.name}
        return tuple(sorted(found))
