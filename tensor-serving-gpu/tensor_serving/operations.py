"""Which operations serving a SavedModel runs, and which of those are refused.

A graph is a program: its operations can read and write every file that the model server's user may. The check covers
what a load or a call runs: everything in the graph, and in functions called from it, that the signatures, the
initialisation and the restoring of variables reach. Operations that only save the model again are ignored. This blocks
the obvious ways to the file system, Python and the network; it is not a sandbox (docs/security.md).

Field numbers are from tensorflow/core/protobuf/{meta_graph,saver}.proto and tensorflow/core/framework/*.proto.
"""

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tensor_serving import proto_scanner

VARIABLE = "TENSOR_SERVING_ALLOWED_OPS"
"""The environment variable with operations to allow nevertheless, separated by commas or spaces; `*` allows any."""

# Names without the prefix Experimental and the version suffix. In this order: files; data sets on disk, and the one
# that runs a graph given as a string; event files and debugging; Python, and a program in a string; connections.
# InitializeTableFromTextFile is not among them: it reads vocabularies from assets.
_NAMES = """
ReadFile WriteFile MatchingFiles Restore RestoreSlice Save SaveSlices MergeV2Checkpoints DTensorRestore DistributedSave
LoadAndRemapMatrix GenerateVocabRemapping DumpTensor CalibrationStatisticsSaver RecordInput Skipgram
FixedLengthRecordReader LMDBReader TFRecordReader TextLineReader WholeFileReader FileSystemSetConfiguration
CSVDataset CacheDataset DatasetFromGraph DatasetToTFRecord FixedLengthRecordDataset LMDBDataset
ListSnapshotChunksDataset LoadDataset MatchingFilesDataset SaveDataset SnapshotChunkDataset SnapshotDataset
SnapshotDatasetReader SnapshotNestedDatasetReader SqlDataset TFRecordDataset TextLineDataset
CreateSummaryDbWriter CreateSummaryFileWriter DebugIdentity DebugNanCount DebugNumericSummary
EagerPyFunc PyFunc PyFuncStateless MlirPassthroughOp
DataServiceDataset RegisterDataset RpcClient RpcServer
"""
_REFUSED = frozenset(_NAMES.split())
_VARIANT = re.compile(r"^Experimental|V[0-9]+$")
_RESTORING = frozenset({"Restore", "RestoreSlice"})
_INITIALISING = frozenset({b"saved_model_main_op", b"legacy_init_op"})  # collections of TensorFlow 1
_HARMLESS_VALUES = {  # by operation: an attribute and its harmless values; any other value is refused
    "PrintV2": (b"output_stream", re.compile(rb"stdout|stderr|log\([a-z]+\)")),
    "DecodeProtoV2": (b"descriptor_source", re.compile(rb"local://|bytes://.*", re.DOTALL)),
    "EncodeProto": (b"descriptor_source", re.compile(rb"local://|bytes://.*", re.DOTALL)),
    "FixedUnigramCandidateSampler": (b"vocab_file", re.compile(rb"")),
}
_MAX_NODES = 2_000_000  # of the graph itself, inputs included; functions are not stored node by node
_FUNCTION = re.compile(rb"[\x4a\xca\x52\xd2]")  # first byte of a tag of field 9 or 10, in any encoding
_MAX_DEPTH = 16  # of functions given to functions


class _Node(NamedTuple):
    """The refused operations of a node or a function, the functions it calls, and the nodes that feed a node."""

    refused: frozenset[str] = frozenset()
    calls: frozenset[bytes] = frozenset()
    inputs: tuple[bytes, ...] = ()


def allowed() -> frozenset[str]:
    """Return the operations that the environment variable allows."""
    return frozenset(os.environ.get(VARIABLE, "").replace(",", " ").split())


def refused(walk: proto_scanner.Walk, meta_graph: proto_scanner.Field) -> set[str]:
    """Return the refused operations that serving this MetaGraphDef runs. Raises proto_scanner.TornError."""
    graph = _MetaGraph(walk)
    graph.read(meta_graph)
    restoring = {name for name in graph.reached(graph.restored) if _base(name) not in _RESTORING}
    return graph.reached(graph.served) | restoring


def _base(operation: str) -> str:
    return _VARIANT.sub("", operation)


class _MetaGraph:
    """The nodes, functions and starting points of a MetaGraphDef."""

    def __init__(self, walk: proto_scanner.Walk) -> None:
        self._walk, self._kept = walk, 0
        self._nodes: dict[bytes, _Node] = {}
        self._functions: dict[bytes, _Node] = {}
        self.served: list[bytes] = []
        self.restored: list[bytes] = []

    def read(self, meta_graph: proto_scanner.Field) -> None:
        for part in self._walk.fields(meta_graph):
            if part.number == 2:
                self._read_graph(part)
            elif part.number == 3:  # the saver
                self.restored += self._walk.strings(part, 3)
            elif part.number == 4 and not _INITIALISING.isdisjoint(self._walk.strings(part, 1)):
                self.served += self._walk.strings(part, 2, 1, 1)
            elif part.number == 5:  # a signature, or the initialisation in the form of one
                for info in self._walk.inside(part, 2, 2, 2):
                    self.served += self._tensors(info, 0)

    def reached(self, names: Iterable[bytes]) -> set[str]:
        """Return the refused operations of these nodes, the nodes they depend on, and all functions called by these."""
        found: set[str] = set()
        seen: set[bytes] = set()
        called: set[bytes] = set()
        waiting, functions = list(names), list[bytes]()
        while waiting:
            name = waiting.pop().removeprefix(b"^").partition(b":")[0]
            if name not in seen and name in self._nodes:
                seen.add(name)
                found |= self._nodes[name].refused
                functions += self._nodes[name].calls
                waiting += self._nodes[name].inputs
        while functions:
            name = functions.pop()
            if name not in called and name in self._functions:
                called.add(name)
                found |= self._functions[name].refused
                functions += self._functions[name].calls
        return found

    def _read_graph(self, graph: proto_scanner.Field) -> None:
        for part in self._walk.fields(graph):
            if part.number == 1:
                name, node = self._node(part)
                self._kept += 1 + len(node.inputs)
                if self._kept > _MAX_NODES:
                    raise proto_scanner.TornError(f"it has more than {_MAX_NODES} nodes, too many to check")
                self._nodes[name] = node
            elif part.number == 2:
                for each in self._walk.fields(part):
                    if each.number == 1:
                        self._read_function(each)
                    elif each.number == 2:  # a gradient: the function it belongs to, and its own function
                        self._add_function(b"".join(self._walk.strings(each, 1)), calls=self._walk.strings(each, 2))

    def _read_function(self, function: proto_scanner.Field) -> None:
        """Read a function. All its nodes count, as those with side effects run even if no result needs them."""
        name, refused, calls = b"", set[str](), set[bytes]()
        for part in self._walk.fields(function):
            if part.number == 1:
                name = b"".join(self._walk.strings(part, 1)) or name
            elif part.number == 3:
                _, node = self._node(part)
                refused |= node.refused
                calls |= node.calls
        self._add_function(name, refused, calls)

    def _add_function(self, name: bytes, refused: Iterable[str] = (), calls: Iterable[bytes] = ()) -> None:
        known = self._functions.get(name, _Node())
        self._functions[name] = _Node(known.refused.union(refused), known.calls.union(calls))

    def _node(self, message: proto_scanner.Field) -> tuple[bytes, _Node]:
        """Return a node and its name. An operation that TensorFlow does not have may be a function's name."""
        name, operation, inputs, attributes = b"", b"", list[bytes](), list[proto_scanner.Field]()
        for part in self._walk.fields(message):
            if part.number == 1:
                name = self._walk.read(part)
            elif part.number == 2:
                operation = self._walk.read(part)
            elif part.number == 3:
                inputs.append(self._walk.read(part))
            elif part.number == 5:
                attributes.append(part)
        calls = {operation}
        for attribute in attributes:
            # Most attributes name no function. A search for the first byte of one that may costs less than a walk.
            if self._walk.may_hold(attribute, _FUNCTION):
                for value in self._walk.inside(attribute, 2):
                    calls.update(self._called(value, 0))
        text = operation.decode("latin-1")
        refused = _base(text) in _REFUSED or self._has_harmful_value(text, attributes)
        return name, _Node(frozenset([text] if refused else ()), frozenset(calls), tuple(inputs))

    def _called(self, value: proto_scanner.Field, depth: int) -> Iterator[bytes]:
        """Yield the functions that an AttrValue names, including those passed to them as attributes."""
        if depth > _MAX_DEPTH:
            raise proto_scanner.TornError("functions are nested too deeply")
        for part in self._walk.fields(value):
            if part.number == 10:
                functions = [part]
            elif part.number == 1:
                functions = self._walk.inside(part, 9)
            else:
                continue
            for function in functions:
                yield from self._walk.strings(function, 1)
                for inner in self._walk.inside(function, 2, 2):
                    yield from self._called(inner, depth + 1)

    def _has_harmful_value(self, operation: str, attributes: list[proto_scanner.Field]) -> bool:
        if operation not in _HARMLESS_VALUES:
            return False
        name, harmless = _HARMLESS_VALUES[operation]
        given = [part for part in attributes if name in self._walk.strings(part, 1)]
        return not all(harmless.fullmatch(value) for part in given for value in self._walk.strings(part, 2, 2))

    def _tensors(self, info: proto_scanner.Field, depth: int) -> Iterator[bytes]:
        """Yield the tensors of a TensorInfo: one, or the parts of a sparse or composite one."""
        if depth > _MAX_DEPTH:
            raise proto_scanner.TornError("tensors are nested too deeply")
        for part in self._walk.fields(info):
            if part.number == 1:
                yield self._walk.read(part)
            elif part.number == 4:
                for number in (1, 2, 3):
                    yield from self._walk.strings(part, number)
            elif part.number == 5:
                for component in self._walk.inside(part, 2):
                    yield from self._tensors(component, depth + 1)
