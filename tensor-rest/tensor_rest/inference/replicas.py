"""The lists of models of several model servers as one: what all of them serve, and which of them has which version.

A roll-out reaches one replica after the other. A version counts as served once every replica that takes part has it,
and while no version is on all of them the one before is kept: default version and labels change once, in one direction.
A replica takes part, for a model, from when all versions it lists are loaded until none is: one that starts does not
take back what the others serve. One whose list cannot be read keeps its versions and takes no part.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tensor_rest.backend import Address
from tensor_rest.inference.listing import Document, Ignored, Listing, Model


@dataclass
class Replicas:
    """Merges the lists of all replicas, each time with what was said the time before."""

    _documents: dict[Address, Document] = field(default_factory=dict)  # the last that could be read of each
    _parts: set[tuple[Address, str]] = field(default_factory=set)  # those that take part, for which model
    _merged: Mapping[str, Model] = field(default_factory=dict)

    def merge(self, read: Mapping[Address, Document | None]) -> Listing:
        """Return the list of all replicas, None for one whose list cannot be read; there is one that can be.

        Its models have as `serving` what all have, and as `loading` what only some have, or load.
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
        if not parts:  # the gateway starts while all of them do
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
    """The labels of served versions; while the replicas do not agree on one it stays what it was."""
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
