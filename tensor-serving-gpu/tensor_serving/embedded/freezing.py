"""Freezing: a second copy of a model's graph in which the variables that no signature changes are constants.

TensorFlow must assume that a variable may be assigned to at any time. With constants it optimises more before the first
call: what depends only on constants is computed once, a batch normalization is folded into the weights before it, and
oneDNN keeps the weights in the layout of its kernels.

A signature of a SavedModel is a node that calls a function with the handles of variables; that function calls others,
and in one of them a ReadVariableOp turns a handle into a value. Here the value is passed down instead of the handle.
Function bodies name their inputs `node:output:index` (FunctionDef in tensorflow/core/framework/function.proto).
"""

import math
from collections.abc import Iterable, Iterator
from functools import cached_property

from tensorflow.core.framework import function_pb2, graph_pb2, node_def_pb2

from tensor_serving.embedded import dtypes
from tensor_serving.embedded.tensors import Array

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_READ = "ReadVariableOp"

Held = dict[int, int]
"""The inputs at which a node or function gets a value instead of a handle: position -> the value's dtype."""


class Freezer:
    """A graph, and the part of it that can be frozen for uses of the tensors named in `ends` (`operation:index`)."""

    def __init__(self, graph: graph_pb2.GraphDef, ends: Iterable[str]) -> None:
        self._graph = graph
        self._nodes = list(_needed({node.name: node for node in graph.node}, ends))
        self._functions = {function.signature.name: function for function in graph.library.function}
        self._known: dict[tuple[str, int], bool] = {}
        self._copies: dict[tuple[str, tuple[tuple[int, int], ...]], function_pb2.FunctionDef] = {}

    @cached_property
    def variables(self) -> dict[str, node_def_pb2.NodeDef]:
        """The handles of variables that are only read, by name, except strings and variables without a fixed size."""
        handles = {node.name: node for node in self._nodes if node.op == "VarHandleOp" and _size(node)}
        uses = [(node, place, _operation(name)) for node in self._nodes for place, name in enumerate(node.input)]
        changed = {name for node, place, name in uses if name in handles and not self._reads(node, place)}
        return {name: node for name, node in handles.items() if name not in changed}

    @property
    def nbytes(self) -> int:
        """The total size of the variables in bytes."""
        return sum(_size(handle) for handle in self.variables.values())

    def readings(self) -> graph_pb2.GraphDef:
        """Return a graph with the variables' handles and, for each, a node `<name>/read` that reads it."""
        graph = graph_pb2.GraphDef(versions=self._graph.versions)
        for name, handle in self.variables.items():
            graph.node.append(handle)
            reading = graph.node.add(name=f"{name}/read", op=_READ, input=[name])
            reading.attr["dtype"].type = handle.attr["dtype"].type
        return graph

    def frozen(self, values: dict[str, Array]) -> graph_pb2.GraphDef:
        """Return the part of the graph that the ends need, with the variables as constants of these values.

        It contains only the changed functions; the others are those of the graph it is added to.
        """
        graph = graph_pb2.GraphDef(versions=self._graph.versions)
        types = {name: dtypes.to_number(value.dtype) for name, value in values.items()}
        for node in self._nodes:
            graph.node.append(_constant(node.name, values[node.name]) if node.name in values else node)
            self._hand_down(graph.node[-1], types)
        graph.library.function.extend(self._copies.values())
        return graph

    def _reads(self, node: node_def_pb2.NodeDef, place: int) -> bool:
        """Return whether a handle passed to this input of the node is only used to read the value."""
        if node.op in _CALLS and not node.input[place].startswith("^"):
            return self._only_read(node.attr["f"].func.name, place)
        return bool(node.op == _READ or node.input[place].startswith("^"))

    def _only_read(self, name: str, place: int) -> bool:
        """Return whether a handle passed to this parameter of the function is only used to read the value."""
        if (name, place) not in self._known:
            self._known[name, place] = False  # preliminary, in case the function calls itself
            function = self._functions.get(name, function_pb2.FunctionDef())
            parameters = function.signature.input_arg
            lists = any(parameter.number_attr or parameter.type_list_attr for parameter in parameters)
            if place < len(parameters) and not lists:
                handle = parameters[place].name
                self._known[name, place] = handle not in map(_operation, function.ret.values()) and all(
                    self._reads(node, number)
                    for node in function.node_def
                    for number, used in enumerate(node.input)
                    if _operation(used) == handle
                )
        return self._known[name, place]

    def _hand_down(self, node: node_def_pb2.NodeDef, types: dict[str, int]) -> bool:
        """Change a node to take values, of dtypes `types` by name, instead of handles.

        Returns whether it was a ReadVariableOp, which becomes an Identity.
        """
        held = {place: types[name] for place, used in enumerate(node.input) if (name := _operation(used)) in types}
        held = {place: number for place, number in held.items() if not node.input[place].startswith("^")}
        if not held:
            return False
        if node.op == _READ:
            node.op = "Identity"
            node.attr.clear()
            node.attr["T"].type = held[0]
            return True
        for place, number in held.items():
            node.attr["Tin"].list.type[place] = number
        node.attr["f"].func.name = self._copy(node.attr["f"].func.name, held)
        node.attr.pop("_read_only_resource_inputs", None)
        return False

    def _copy(self, name: str, held: Held) -> str:
        """Return the name of a copy of the function that takes values at these inputs."""
        key = name, tuple(held.items())
        if key not in self._copies:
            copy = self._copies[key] = function_pb2.FunctionDef()
            copy.CopyFrom(self._functions[name])
            copy.signature.name = f"{name}_frozen_{len(self._copies)}"
            types = {}
            for place, number in held.items():
                parameter = copy.signature.input_arg[place]
                parameter.type = types[parameter.name] = number
                parameter.ClearField("handle_data")
                copy.arg_attr.pop(place, None)
            read = {node.name for node in copy.node_def if self._hand_down(node, types)}
            for node in copy.node_def:
                node.input[:] = [_renamed(used, read) for used in node.input]
            for output, used in copy.ret.items():
                copy.ret[output] = _renamed(used, read)
        return str(self._copies[key].signature.name)


def _needed(nodes: dict[str, node_def_pb2.NodeDef], ends: Iterable[str]) -> Iterator[node_def_pb2.NodeDef]:
    """Yield the nodes of these tensors and all nodes that they depend on."""
    left, seen = [_operation(end) for end in ends], set()
    while left:
        name = left.pop()
        if name not in seen and name in nodes:
            seen.add(name)
            yield nodes[name]
            left += map(_operation, nodes[name].input)


def _operation(used: str) -> str:
    return used.removeprefix("^").partition(":")[0]


def _renamed(used: str, read: set[str]) -> str:
    """Rename a replaced node's output: a ReadVariableOp has `value`, an Identity has `output`."""
    name, _, output = used.partition(":")
    return f"{name}:output:0" if name in read and output else used


def _size(handle: node_def_pb2.NodeDef) -> int:
    """Return a variable's size in bytes; 0 where it is unknown, or the variable must not be frozen."""
    dtype, shape = handle.attr["dtype"].type, handle.attr["shape"].shape
    if (
        dtype == dtypes.STRING
        or dtype not in dtypes.BY_NUMBER
        or shape.unknown_rank
        or not handle.attr["shared_name"].s
    ):
        return 0
    elements: int = math.prod(max(0, dim.size) for dim in shape.dim)
    return elements * dtypes.BY_NUMBER[dtype].itemsize


def _constant(name: str, value: Array) -> node_def_pb2.NodeDef:
    node = node_def_pb2.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = dtypes.to_number(value.dtype)
    tensor = node.attr["value"].tensor
    tensor.dtype = node.attr["dtype"].type
    tensor.tensor_shape.SetInParent()
    for length in value.shape:
        tensor.tensor_shape.dim.add(size=length)
    tensor.tensor_content = value.tobytes()
    return node
