"""Decides by the signatures of each version whether the rows of a request may share a call with other requests' rows.

Rows share calls, or are split over several, only where they are known to be independent: the operator's setting for
the model says so, or else the version's card. Everything else is sent as one call, unchanged.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tensor_rest.backend.batching import Inputs, SignatureRef
from tensor_rest.backend.protos.serving_pb2 import SignatureDef, TensorInfo
from tensor_rest.backend.tensors import WireError, numpy_type

_KEPT = 1024  # versions; all are forgotten when there are more, and learned anew

Plan = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
"""Of each input by alias: the type and the sizes of one row, -1 for any."""

Setting = Callable[[str], bool | None]
"""The operator's setting for a model: whether its rows are independent; None: not set."""


class Rows:
    """Keeps which signatures can be batched, and which version answers requests without a version number."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._plans: dict[tuple[str, int], dict[str, Plan]] = {}
        self._independent: set[tuple[str, int]] = set()
        self._answering: dict[tuple[str, str | None], int] = {}
        self._lock = threading.Lock()

    def learn(self, model: str, version: int, signatures: Mapping[str, SignatureDef]) -> None:
        """Keep which of a version's signatures can be batched; if they changed, independence must be declared again."""
        plans = {name: plan for name, definition in signatures.items() if (plan := _plan(definition))}
        with self._lock:
            if len(self._plans) >= _KEPT:
                self._plans.clear()
                self._independent.clear()
            if self._plans.get((model, version)) != plans:
                self._independent.discard((model, version))
                self._plans[model, version] = plans

    def declare_independent(self, model: str, version: int, independent: bool) -> None:
        """Set what the card of a version declares: whether its rows are independent."""
        with self._lock:
            if independent:
                self._independent.add((model, version))
            else:
                self._independent.discard((model, version))

    def answered(self, ref: SignatureRef, version: int) -> None:
        """Record that this version answers requests like `ref`, if that names no version number."""
        key = (ref.model, ref.label)
        if ref.version is None and self._answering.get(key) != version:
            with self._lock:
                if len(self._answering) >= _KEPT:
                    self._answering.clear()
                self._answering[key] = version

    def count(self, ref: SignatureRef, inputs: Inputs) -> int:
        """Return how many rows `inputs` has; 0 if they must not share a call.

        That is so if they are not known to be independent, if the signature has no rows, or if the inputs do not fit
        it: the server's error must not affect other requests.
        """
        version = ref.version
        if version is None:
            version = self._answering.get((ref.model, ref.label))
        plan = self._plan(ref, version or 0)
        if plan is None or inputs.keys() != plan.keys():
            return 0
        counts = {_rows(array, *plan[alias]) for alias, array in inputs.items()}
        return counts.pop() if len(counts) == 1 else 0

    def are_independent(self, ref: SignatureRef, version: int) -> bool:
        """Whether the rows of the version that answered a shared call are independent; it may be an unexpected one."""
        return self._plan(ref, version) is not None

    def _plan(self, ref: SignatureRef, version: int) -> Plan | None:
        """The rows of the signature if they are independent."""
        key = (ref.model, version)
        plan = self._plans.get(key, {}).get(ref.signature)
        if plan is None:
            return None
        setting = self._setting(ref.model)
        return plan if (key in self._independent if setting is None else setting) else None


def _rows(array: np.ndarray[Any, Any], dtype: np.dtype[Any], sizes: tuple[int, ...]) -> int:
    if array.dtype != dtype or array.ndim != len(sizes) + 1:
        return 0
    fits = all(wanted in (-1, found) for wanted, found in zip(sizes, array.shape[1:], strict=True))
    return len(array) if fits else 0


def _plan(signature: SignatureDef) -> Plan | None:
    """The rows of a signature whose inputs and outputs all have an open first dimension."""
    tensors = (*signature.inputs.values(), *signature.outputs.values())
    if not signature.inputs or not signature.outputs or not all(_has_rows(info) for info in tensors):
        return None
    try:
        return {alias: (numpy_type(info.dtype), _sizes(info)[1:]) for alias, info in signature.inputs.items()}
    except WireError:
        return None


def _has_rows(info: TensorInfo) -> bool:
    return not info.tensor_shape.unknown_rank and _sizes(info)[:1] == (-1,)


def _sizes(info: TensorInfo) -> tuple[int, ...]:
    return tuple(dim.size for dim in info.tensor_shape.dim)
