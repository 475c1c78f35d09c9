"""The paths of TensorFlow Serving's REST API. Bytes in, bytes out; errors are ServingErrors."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import unquote

import orjson
from tensorflow_serving.apis import classification_pb2, regression_pb2

from tensor_serving.embedded import classify, predict, regress
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import ServingError, invalid
from tensor_serving.embedded.metrics import Metrics
from tensor_serving.embedded.repository import Repository
from tensor_serving.embedded.rest import examples, json_in, json_out, json_parse, status
from tensor_serving.embedded.rest.bodies import unzip
from tensor_serving.embedded.tensors import Array

LARGE = 256 * 1024  # bytes of JSON that are not parsed or written on the event loop
_WHERE = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
_PREDICTION = re.compile(rf"/v1/models/([^/:]+){_WHERE}(?-i::(classify|regress|predict))", re.IGNORECASE | re.ASCII)
_STATUS = re.compile(rf"/v1/models(?:/([^/:]+))?{_WHERE}(/metadata)?", re.IGNORECASE | re.ASCII)

_Outputs = Sequence[Array]
_Run = tuple[Call, Callable[[_Outputs], bytes]]  # what to run, and how to turn its outputs into the answer


class Target(NamedTuple):
    """The version a path names: the one given, the one labelled, or the newest."""

    name: str
    version: int | None
    label: str | None


class Routes:
    """The API for the models of a repository. For use on the event loop only."""

    def __init__(self, repository: Repository, metrics: Metrics) -> None:
        self._repository, self._metrics = repository, metrics
        # Large bodies are decompressed and parsed one at a time: as Python objects they take many times their bytes.
        self._alone = asyncio.Lock()

    async def answer(self, method: str, path: str, body: bytes, zipped: bool) -> bytes:
        """Return the answer to a request; the path is undecoded, with its query. Raises ServingError, TooLargeError."""
        if method == "POST" and (found := _PREDICTION.fullmatch(path)):
            return await self._counted(_target(found), found[4], body, zipped)
        if method == "GET" and (found := _STATUS.fullmatch(path)):
            if not found[1]:
                raise invalid("Missing model name in request.")
            target = _target(found)
            # The status can be returned while the model loads, as soon as the config is known.
            await (self._repository.wait_until_loaded(*target) if found[4] else self._repository.wait_until_loaded())
            return orjson.dumps(self._metadata(target) if found[4] else self._status(target))
        raise invalid(f"Malformed request: {method} {path[:1024]}")

    def _status(self, target: Target) -> dict[str, Any]:
        """Return the states of a version or of all; as in TF Serving a label is ignored."""
        return status.versions(self._repository.status(target.name, target.version))

    def _metadata(self, target: Target) -> dict[str, Any]:
        with self._repository.held(*target) as (version, runner):
            return status.metadata(target.name, version, runner.signatures)

    async def _counted(self, target: Target, api: str, body: bytes, zipped: bool) -> bytes:
        """Run the graph, and count the request under the name of the model."""
        started, code = perf_counter(), "INTERNAL"
        try:
            answer = await self._infer(target, api, body, zipped)
            code = "OK"
            return answer
        except ServingError as error:
            code = error.code.name
            raise
        except asyncio.CancelledError:
            code = "DEADLINE_EXCEEDED"
            raise
        finally:
            self._metrics.request(target.name, api, "REST", code, perf_counter() - started)

    async def _infer(self, target: Target, api: str, body: bytes, zipped: bool) -> bytes:
        await self._repository.wait_until_loaded(*target)
        with ExitStack() as held:
            if zipped or len(body) > LARGE:
                async with self._alone:
                    if zipped:
                        body = await _in_thread(unzip, body)
                    runner, (call, answer) = await self._prepare(target, api, body, held, _in_thread)
            else:
                runner, (call, answer) = await self._prepare(target, api, body, held, _here)
            started = perf_counter()
            outputs = await runner.run(call)
            self._metrics.runtime(target.name, api.capitalize(), perf_counter() - started)
        large = sum(array.nbytes for array in outputs) > LARGE
        return bytes(await (_in_thread if large else _here)(answer, outputs))

    async def _prepare(
        self, target: Target, api: str, body: bytes, held: ExitStack, do: Callable[..., Awaitable[Any]]
    ) -> tuple[Any, _Run]:
        """Parse, hold the version, and return its runner and what to run. The body is checked before the name."""
        document = await do(json_parse.parse, body)
        name = json_parse.signature_name(document)
        _, runner = held.enter_context(self._repository.held(*target))
        return runner, await do(_RUNS[api], runner.signatures, document, name)


async def _here(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


async def _in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def _predict(signatures: predict.Signatures, document: json_parse.Document, name: str) -> _Run:
    signature = signatures.get(name or predict.DEFAULT_SIGNATURE)
    if signature is None:
        raise invalid(f'Serving signature name: "{name or predict.DEFAULT_SIGNATURE}" not found in signature def')
    if not signature.inputs:
        raise invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    inputs, as_rows = json_in.inputs(document, dict(signature.inputs))
    call, places = predict.call_for(signatures, name, inputs)
    write = json_out.rows if as_rows else json_out.columns
    return call, lambda outputs: write({alias: outputs[place] for alias, place in places.items()})


def _classify(signatures: predict.Signatures, document: json_parse.Document, _name: str) -> _Run:
    request = examples.fill(classification_pb2.ClassificationRequest(), document)
    call = classify.prepare(signatures, request)
    return call, lambda outputs: json_out.classification(classify.answer(signatures, request, call, outputs).result)


def _regress(signatures: predict.Signatures, document: json_parse.Document, _name: str) -> _Run:
    request = examples.fill(regression_pb2.RegressionRequest(), document)
    call = regress.prepare(signatures, request)
    return call, lambda outputs: json_out.regression(regress.answer(signatures, request, call, outputs).result)


_RUNS = {"predict": _predict, "classify": _classify, "regress": _regress}


def _target(found: "re.Match[str]") -> Target:
    if found[2] and (len(found[2]) > 19 or int(found[2]) >= 2**63):
        raise invalid(f"Failed to convert version: {found[2][:100]} to numeric.")
    return Target(unquote(found[1]), int(found[2]) if found[2] else None, unquote(found[3]) if found[3] else None)
