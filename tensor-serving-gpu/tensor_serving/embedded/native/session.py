"""A SavedModel loaded as by the C++ server: as a graph in a session."""

import ctypes
import functools
import io
import os
from collections.abc import Callable, Sequence
from ctypes import c_char_p, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from tensorflow.core.framework import graph_pb2, op_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tensor_serving import proto_scanner
from tensor_serving.embedded import dtypes
from tensor_serving.embedded.errors import ServingError, by_number, invalid
from tensor_serving.embedded.native.library import Buffer, Output, library, trim_memory
from tensor_serving.embedded.native.tensors import Array, to_array, to_tensor

_MAX_TEXT_CHARS = 1024  # characters of an error's text, as in TF Serving
_REFERENCE = 100  # offset of the dtypes of TensorFlow 1's references, whose values are fetched
_INFO, _SIGNATURES = 1, 5  # field numbers of MetaGraphDef.meta_info_def and .signature_def


@dataclass(frozen=True, slots=True)
class Ends:
    """The inputs and outputs of a run: tensors looked up in the graph, in the form the C API takes."""

    feeds: Any
    fetches: Any


class Session:
    """A loaded graph: `signatures` are its SignatureDefs by key, `operations` the OpDefs of its nodes, where known.

    Any number of threads may call `run`.
    """

    def __init__(self, folder: Path, config: bytes, run_options: bytes) -> None:
        """Load what is tagged "serve"; `config` is a serialized ConfigProto, `run_options` a RunOptions for every run.

        Raises ServingError when it cannot be loaded; nothing stays in memory then.
        """
        api = library()
        self._session: int | None = None
        self._graph: int | None = api.TF_NewGraph()
        self._run_options = api.TF_NewBufferFromString(run_options, len(run_options))
        options, meta_graph = api.TF_NewSessionOptions(), api.TF_NewBuffer()
        try:
            _checked(api.TF_SetConfig, options, config, len(config))
            _silence_first_run(config)
            self._session = _checked(
                api.TF_LoadSessionFromSavedModel,
                *(options, None, os.fsencode(folder), (c_char_p * 1)(b"serve"), 1, self._graph, meta_graph),
            )
            self.signatures, self.operations = _outline(meta_graph.contents)
        except Exception:
            self.close()
            raise
        finally:
            api.TF_DeleteSessionOptions(options)
            api.TF_DeleteBuffer(meta_graph)

    def ends(self, feeds: Sequence[str], fetches: Sequence[str]) -> Ends:
        """Look tensors up by name, `operation:index`.

        Raises ServingError when there is no such tensor, or a tensor to fetch is a resource or a variant.
        """
        self._check_open()
        ends = Ends(self._outputs(feeds), self._outputs(fetches))
        for name, output in zip(fetches, ends.fetches, strict=True):
            number = library().TF_OperationOutputType(output)
            if number % _REFERENCE not in dtypes.BY_NUMBER:
                raise invalid(f"Tensor {name} is a {dtypes.name(number)}, which cannot be sent")
        return ends

    def run(self, ends: Ends, values: Sequence[Array]) -> list[Array]:
        """Feed the values and return the fetched ones. Raises ServingError with TensorFlow's own code and text."""
        self._check_open()
        delete, count = library().TF_DeleteTensor, len(ends.fetches)
        fed = (c_void_p * len(ends.feeds))()
        fetched: Any = (c_void_p * count)()
        try:
            for position, value in enumerate(values):
                fed[position] = to_tensor(value)
            _checked(
                library().TF_SessionRun,
                *(self._session, self._run_options, ends.feeds, fed, len(fed), ends.fetches, fetched, count),
                *(None, 0, None),
            )
            return [to_array(tensor) for tensor in fetched]
        except TypeError as error:
            raise invalid(str(error)) from error
        finally:
            for tensor in fed:
                if tensor:
                    delete(tensor)

    def graph(self) -> graph_pb2.GraphDef:
        """Return the graph, including what was added to it."""
        self._check_open()
        api = library()
        buffer = api.TF_NewBuffer()
        try:
            _checked(api.TF_GraphToGraphDef, self._graph, buffer)
            return graph_pb2.GraphDef.FromString(ctypes.string_at(buffer.contents.data, buffer.contents.length))
        finally:
            api.TF_DeleteBuffer(buffer)

    def add(self, graph: graph_pb2.GraphDef, prefix: str) -> None:
        """Add nodes to the graph, with `prefix/` before their names. Raises ServingError, and adds nothing then."""
        self._check_open()
        api, data = library(), graph.SerializeToString()
        options, buffer = api.TF_NewImportGraphDefOptions(), api.TF_NewBufferFromString(data, len(data))
        try:
            api.TF_ImportGraphDefOptionsSetPrefix(options, prefix.encode())
            _checked(api.TF_GraphImportGraphDef, self._graph, buffer, options)
        finally:
            api.TF_DeleteBuffer(buffer)
            api.TF_DeleteImportGraphDefOptions(options)

    def close(self) -> None:
        """Free the memory. No run may be in progress, and none may follow."""
        api = library()
        session, self._session = self._session, None
        graph, self._graph = self._graph, None
        if session:
            _checked(api.TF_CloseSession, session)
            _checked(api.TF_DeleteSession, session)
        if graph:
            api.TF_DeleteGraph(graph)
            api.TF_DeleteBuffer(self._run_options)
        trim_memory()

    def _check_open(self) -> None:
        if not self._session:  # passing a null pointer to the library would crash the process
            raise ServingError(grpc.StatusCode.UNAVAILABLE, "the model has been unloaded")

    def _outputs(self, names: Sequence[str]) -> Any:
        outputs = (Output * len(names))()
        for position, name in enumerate(names):
            operation, _, index = name.partition(":")
            found = library().TF_GraphOperationByName(self._graph, operation.encode())
            number = int(index or 0) if (index or "0").isdecimal() else -1
            # Out of range would be undefined behaviour in the library, not an error.
            if not found or not 0 <= number < library().TF_OperationNumOutputs(found):
                text = f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
                raise invalid(text)
            outputs[position] = Output(found, number)
        return outputs


def _outline(meta_graph: Buffer) -> tuple[dict[str, meta_graph_pb2.SignatureDef], list[op_def_pb2.OpDef]]:
    """Return a serialized MetaGraphDef's signatures and operations, without parsing its graph and weights."""
    data = ctypes.string_at(meta_graph.data, meta_graph.length)
    info = meta_graph_pb2.MetaGraphDef.MetaInfoDef()
    signatures = {}
    for field in proto_scanner.fields(io.BytesIO(data), 0, len(data)):
        if field.number == _INFO:
            info.MergeFromString(data[field.start : field.end])
        elif field.number == _SIGNATURES:
            entry = meta_graph_pb2.MetaGraphDef.SignatureDefEntry.FromString(data[field.start : field.end])
            signatures[entry.key] = entry.value
    return signatures, list(info.stripped_op_list.op)


@functools.cache
def _silence_first_run(config: bytes) -> None:
    """Discard the lines that the library prints at its first run.

    They are two lines on stderr, once per process, about a compiler pass that is not used; no log level or option
    suppresses them. Running an empty graph is enough to have them printed. That run also starts the process's threads,
    so it needs the same options as the first model.
    """
    api = library()
    graph, options = api.TF_NewGraph(), api.TF_NewSessionOptions()
    nothing = _checked(api.TF_FinishOperation, api.TF_NewOperation(graph, b"NoOp", b"nothing"))
    _checked(api.TF_SetConfig, options, config, len(config))
    session = _checked(api.TF_NewSession, graph, options)
    stderr, void = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(void, 2)
    try:
        targets = (c_void_p * 1)(nothing)
        _checked(api.TF_SessionRun, session, None, None, None, 0, None, None, 0, targets, 1, None)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(void)
        _checked(api.TF_DeleteSession, session)
        api.TF_DeleteGraph(graph)
        api.TF_DeleteSessionOptions(options)


def _checked(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that takes a TF_Status as its last argument. Raises ServingError if the status is an error."""
    api = library()
    status = api.TF_NewStatus()
    try:
        result = function(*arguments, status)
        if code := api.TF_GetCode(status):
            raise by_number(code, api.TF_Message(status).decode(errors="replace")[:_MAX_TEXT_CHARS])
        return result
    finally:
        api.TF_DeleteStatus(status)
