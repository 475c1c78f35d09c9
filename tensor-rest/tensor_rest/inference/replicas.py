"""Merges the lists of models of several model servers: what all of them serve, and which of them has which version.

A roll-out reaches one replica after another. A version counts as served once every participating replica has it; while
no version is on all of them, the previous one is kept: so default version and labels change once, and never back. A
replica participates, for a model, from when all versions that it lists are loaded until none is loaded: so a starting
replica does not withdraw what the others serve. If its list cannot be read, it is called for the versions that it had,
and does not participate.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tensor_rest.backend import Address
from tensor_rest.inference.listing import Document, Ignored, Listing, Model


@dataclass
class Replicas:
    """Merges the lists of all replicas, with regard to the result of the previous merge."""

    _documents: dict[Address, Document] = field(default_factory=dict)  # the last that could be read of each
    _parts: set[tuple[Address, str]] = field(default_factory=set)  # those that take part, for which model
    _merged: Mapping[str, Model] = field(default_factory=dict)

    def merge(self, read: Mapping[Address, Document | None]) -> Listing:
        """Merge the lists in `read`, None for a replica whose list cannot be read; at least one can be.

        In the result `serving` are the versions that all have, `loading` those that only some have, or are loading.
        """
        documents = {address: document or self._documents.get(address) for address, document in read.items()}
        self._documents = {address: document for address, document in documents.items() if document}
        answering = [address for address, document in read.items() if document]
        having: dict[tuple[str, int | None], set[Address]] = {}
        for address, document in self._documents.items():
            for model in document.models:
                for version in (*model.callable_now, *([None] if model.callable_now else [])):
                    having.setdefault((model.name, version), set()).add(address)
        self._take_part(answering)
        models = [self._model(name, answering) for name in sorted(self._names(answering))]
        self._merged = {model.name: model for model in models}
        return Listing(
            models,
            _distinct(self._documents[address] for address in answering),
            several=True,
            having={key: frozenset(addresses) for key, addresses in having.items()},
            replicas=frozenset(self._documents),
        )

    def _names(self, answering: Iterable[Address]) -> set[str]:
        return {model.name for address in answering for model in self._documents[address].models}

    def _take_part(self, answering: Iterable[Address]) -> None:
        known = {
            (address, model.name): model
            for address in answering
            for model in self._documents[address].models
            if model.callable_now
        }
        self._parts = {
            key for key, model in known.items() if key in self._parts or {*model.serving} <= {*model.callable_now}
        }

    def _model(self, name: str, answering: Iterable[Address]) -> Model:
        entries = {a: model for a in answering for model in self._documents[a].models if model.name == name}
        parts = [model for a, model in entries.items() if (a, name) in self._parts]
        if not parts:  # the gateway and all replicas are starting
            parts = [model for model in entries.values() if model.callable_now] or [*entries.values()]
        last = self._merged.get(name) or Model(name=name)
        served = _served(parts, last)
        everywhere = {v for model in entries.values() for v in (*model.serving, *model.callable_now)}
        rows = {model.independent_rows for model in parts}
        quarantined = {item.version: item for model in entries.values() for item in model.quarantined}
        return Model(
            name=name,
            versions=sorted({version for model in entries.values() for version in model.versions}),
            serving=sorted(served),
            loading=sorted(everywhere - served),
            labels=_labels(parts, last, served),
            quarantined=[quarantined[version] for version in sorted(quarantined.keys() - served)],
            independent_rows=rows.pop() if len(rows) == 1 else False,
        )


def _served(parts: Iterable[Model], last: Model) -> set[int]:
    """The versions that all have; if there is none, what was served before and some still have, else the oldest."""
    sets = [{*model.callable_now} for model in parts]
    if common := set.intersection(*sets):
        return common
    some = set.union(*sets)
    if before := some & {*last.serving}:
        return {max(before)}
    return {min(some)} if some else set()


def _labels(parts: list[Model], last: Model, served: set[int]) -> dict[str, int]:
    """Return the labels of served versions; a label on which the replicas disagree keeps its version."""
    found = {}
    for label in sorted({label for model in parts for label in model.labels} | last.labels.keys()):
        given = {model.labels.get(label) for model in parts}
        versions = sorted(version for version in given if version in served)
        if given == {None}:
            continue
        if len(given) == 1 and versions:
            found[label] = versions[0]
        elif last.labels.get(label) in served:
            found[label] = last.labels[label]
        elif versions:
            found[label] = versions[0]
    return found


def _distinct(documents: Iterable[Document]) -> list[Ignored]:
    return [*{folder.path: folder for document in documents for folder in document.ignored}.values()]
