"""One model's versions in the models volume: their labels, the default version, promotion, rollback and deletion.

Nothing here calls a server: labels and the version policy are written to `<models>/<name>/serving.json`, and the
watcher beside the model server applies them. Every change is logged (`reports`).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensor_jupyter.context import MAX_VERSION, checked_name
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing import serving_settings
from tensor_jupyter.publishing.reports import Reports
from tensor_jupyter.publishing.serving_settings import STABLE, ServingSettings
from tensor_jupyter.publishing.staging import staging
from tensor_jupyter.typed import LAB

CANDIDATE = "candidate"
"""The label of a version that is served, but is not the default."""

_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")


class Registry:
    """The model `name` in the volume `models`. Every method raises LabError for what cannot be done."""

    def __init__(self, models: Path, name: str) -> None:
        self.models = models
        self.name = checked_name(name)
        self.family = models / name
        self._reports = Reports(self.family)

    def numbers(self) -> list[int]:
        """The versions that hold a SavedModel, ascending."""
        return sorted(
            number for number, path in self.folders().items() if any((path / name).is_file() for name in _GRAPHS)
        )

    def folder(self, version: int) -> Path:
        """A version's folder. Raises LabError, listing the existing versions, if there is none."""
        found = self.folders()
        if version not in found:
            there = f"there are {', '.join(map(str, sorted(found)))}" if found else "there is none"
            raise LabError(f"{self.name} has no version {version}: {there}.")
        return found[version]

    def settings(self) -> ServingSettings:
        """The settings of serving.json now."""
        return serving_settings.read(self.family)

    def label(self, label: str, version: int) -> None:
        """Put a label on a version; it is served from then on, whatever the policy."""
        self.folder(version)
        self._change(lambda conf: conf.with_label(label, version), {"did": "label", "label": label, "version": version})

    def set_default(self, stable: int | None, candidate: int | None = None, held: bool = False) -> None:
        """Put the labels `stable` and `candidate` on these versions, or remove them; logged as automatic.

        held: the next decision may remove `stable` again, as after `hold_default`.
        """

        def change(conf: ServingSettings) -> ServingSettings:
            for label, version in ((STABLE, stable), (CANDIDATE, candidate)):
                conf = conf.with_label(label, version) if version else conf.without_label(label)
            return conf

        self._change(change, {"did": "default", "stable": stable, "candidate": candidate, "held": held})

    def hold_default(self, present: list[int]) -> bool:
        """Keep the version that is the default now, whatever is published, until `set_default` or `release_default`.

        present: the sound versions. Returns whether anything was changed: nothing is if there is a label `stable`,
        a pin, or no sound version.
        """
        conf = self.settings()
        current = conf.default(present)
        if not current or conf.pinned or STABLE in conf.labels:
            return False
        entry = {"did": "default", "stable": current, "held": True}
        self._change(lambda conf: conf.with_label(STABLE, current), entry)
        return True

    def release_default(self) -> None:
        """Undo `hold_default`; without effect if `stable` has been set by something else since."""
        if self.is_held():
            self._change(lambda conf: conf.without_label(STABLE), {"did": "default", "stable": None})

    def unpin(self) -> int:
        """Drop a pin and the labels `stable` and `candidate`, so that the newest version is the default again.

        Returns that version, 0 if there is none.
        """
        self.folders()

        def change(conf: ServingSettings) -> ServingSettings:
            free = conf.unpin() if conf.pinned else conf
            return free.without_label(STABLE).without_label(CANDIDATE)

        self._change(change, {"did": "unpin"})
        return self.settings().default(self.numbers())

    def is_held(self) -> bool:
        """Whether the label `stable` was set automatically, and only until the next decision."""
        last: dict[str, Any] = next((entry for entry in reversed(self.log()) if entry.get("did") == "default"), {})
        return bool(last.get("held")) and STABLE in self.settings().labels and not self.is_chosen()

    def is_chosen(self) -> bool:
        """Whether a person decided which version answers: by a pin, or by a label `stable` of their own."""
        conf = self.settings()
        if conf.pinned or STABLE not in conf.labels:
            return bool(conf.pinned)
        about = (
            entry
            for entry in reversed(self.log())
            if entry.get("did") in ("default", "rollback") or entry.get("label") == STABLE
        )
        last: dict[str, Any] = next(about, {})
        return last.get("did") != "default" or last.get("stable") != conf.labels[STABLE]

    def set_independent_rows(self, independent: bool | None) -> None:
        """Set whether a server may batch this model's requests; None: as the version declares."""
        self.folders()
        entry = {"did": "independent_rows", "value": independent}
        self._change(lambda conf: conf.with_independent_rows(independent), entry)

    def replace_settings(self, wanted: ServingSettings) -> bool:
        """Write serving.json as pulled from another lab; False if nothing changes."""
        differ = self.settings().document != wanted.document
        if differ:
            self._change(lambda _: wanted, {"did": "pull", "settings": wanted.document})
        return differ

    def promote(self, version: int, label: str, forced: bool = False) -> None:
        """Put a label on a version that passed the gate.

        For `stable`, a pin of the model moves to this version, or is removed if this version is the newest.
        """
        self.folder(version)
        newest = self.numbers()[-1]

        def change(conf: ServingSettings) -> ServingSettings:
            changed = conf.with_label(label, version)
            if label == STABLE and conf.labels.get(CANDIDATE) == version:
                changed = changed.without_label(CANDIDATE)
            if label != STABLE or not conf.pinned:
                return changed
            return changed.unpin() if version == newest else changed.pin(version)

        before = self.settings().labels.get(label)
        self._change(change, {"did": "promote", "label": label, "version": version, "before": before, "forced": forced})

    def rollback(self, present: list[int], target: int | None = None) -> tuple[int, int]:
        """Make an older version the default; return the previous default and the new one.

        present: the sound versions. target: the new default; else the version that was `stable` before, else the next
        lower one. The model is pinned to it: newer versions are not served until one is promoted. The label `stable`
        moves to it; other labels are removed from newer versions.
        """
        conf = self.settings()
        current = conf.default(present)
        older = [number for number in present if number < current]
        if target is None and not older:
            raise LabError(f"{self.name} has no sound version before {current}, so there is nothing to roll back to.")
        chosen = target if target is not None else self._stable_before(current, older)
        if chosen not in present:
            raise LabError(f"{self.name} has no sound version {chosen}: there are {', '.join(map(str, present))}.")

        def change(conf: ServingSettings) -> ServingSettings:
            changed = conf.pin(chosen)
            for label, version in conf.labels.items():
                if label == STABLE:
                    changed = changed.with_label(label, chosen)
                elif version > chosen:
                    changed = changed.without_label(label)
            return changed

        self._change(change, {"did": "rollback", "version": chosen, "before": current})
        return current, chosen

    def retry(self, version: int) -> None:
        """Make the watcher check a version again, by touching one of its files; no content changes."""
        folder = self.folder(version)
        for path in (*(folder / name for name in _GRAPHS), *sorted(folder.iterdir())):
            if path.is_file():
                os.utime(path)
                return
        raise LabError(f"{folder} holds no file, so there is nothing to check again.")

    def delete(self, version: int, present: list[int], force: bool = False) -> None:
        """Remove a version in one step, with its report; `force` also removes a served one, with its labels.

        present: the sound versions; the last of them is never deleted.
        """
        folder = self.folder(version)

        def change(conf: ServingSettings) -> ServingSettings:
            self._check_delete(conf, version, present, force)
            for label, number in conf.labels.items():
                conf = conf.without_label(label) if number == version else conf
            kept = [number for number in conf.pinned if number != version]
            if conf.pinned == (version,):
                return conf.unpin()
            if len(kept) < len(conf.pinned):
                path = self.family / serving_settings.FILE
                raise LabError(f"{path} names version {version} beside others: remove it from the file first.")
            return conf

        def remove() -> None:
            with staging(self.models) as area:
                folder.rename(area)
            self._reports.path(version).unlink(missing_ok=True)

        self._change(change, {"did": "delete", "version": version}, remove)

    def delete_all(self) -> list[int]:
        """Delete the whole model in one step, with reports and serving.json; returns its versions.

        Raises LabError for a folder without a version: it may not be a model.
        """
        numbers = sorted(self.folders())
        if not numbers:
            raise LabError(f"{self.family} holds no version, so it is not deleted: remove the folder yourself.")
        with staging(self.models) as area:
            self.family.rename(area)
        return numbers

    def store_report(self, version: int, report: dict[str, Any]) -> None:
        """Keep the gate's report beside the version, in place of an earlier one."""
        self._reports.store(version, report)

    def report(self, version: int) -> dict[str, Any] | None:
        """The gate's last report of a version, None when there is none that can be read."""
        return self._reports.read(version)

    def log(self) -> list[dict[str, Any]]:
        """The logged changes of this model, oldest first."""
        return self._reports.log()

    def _check_delete(self, conf: ServingSettings, version: int, present: list[int], force: bool) -> None:
        labels = sorted(label for label, number in conf.labels.items() if number == version)
        if present == [version]:
            raise LabError(
                f"Version {version} is the last sound one of {self.name}, so it is not deleted: "
                f"`{LAB} models delete {self.name} --all` removes the model."
            )
        if labels and not force:
            raise LabError(
                f"Version {version} of {self.name} is labelled {', '.join(labels)}: put the label on another version "
                "first, or delete it with --force."
            )
        if version in conf.listed(present) and not force:
            raise LabError(
                f"Version {version} of {self.name} is served: make another one the default first, as with "
                f"`{LAB} models rollback {self.name}`, or delete it with --force."
            )

    def folders(self) -> dict[int, Path]:
        """Every version's folder, with a model in it or not.

        Numbers are read as the watcher does: 00001 is version 1. If two names have one number, the shorter one counts.
        """
        if not self.family.is_dir():
            raise LabError(f"There is no model {self.name} in {self.models}: `{LAB} models` lists those there are.")
        found = {}
        for path in sorted(self.family.iterdir(), key=lambda path: -len(path.name)):
            numeric = path.is_dir() and path.name.isascii() and path.name.isdigit() and len(path.name) <= 40
            if numeric and 1 <= int(path.name) <= MAX_VERSION:
                found[int(path.name)] = path
        return found

    def _stable_before(self, current: int, older: list[int]) -> int:
        """The last of the `older` versions that was promoted to stable, else the newest of them."""
        promoted = [
            entry.get("version")
            for entry in self.log()
            if entry.get("did") == "promote" and entry.get("label") == STABLE and entry.get("version") != current
        ]
        return next((int(number) for number in reversed(promoted) if number in older), older[-1])

    def _change(
        self,
        change: Callable[[ServingSettings], ServingSettings],
        entry: dict[str, Any],
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """Write serving.json, if it changes, and a line of the log, and call `then`, all under the lock."""
        with self._reports.locked():
            conf = self.settings()
            changed = change(conf)
            if changed.document != conf.document:
                serving_settings.write(self.family, changed)
            self._reports.append(entry)
            then()
