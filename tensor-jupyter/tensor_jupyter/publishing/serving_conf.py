"""`serving.conf`: what a model sets for itself, read and changed without touching what a person wrote there.

The watcher beside the model server reads it; tensor-serving-gpu's README has its grammar, protobuf's text form of

    model_version_policy { latest { num_versions: 2 } }      (or: all {}   or: specific { versions: 5 versions: 7 })
    version_labels { key: "stable" value: 7 }
    independent_rows: true

and comments. A file that holds anything else is not changed.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tensor_jupyter.context import MAX_VERSION, NAME
from tensor_jupyter.errors import LabError

STABLE = "stable"
"""The label of the version that answers requests which name neither version nor label."""

_LARGEST = 64 * 1024  # bytes; as the watcher
_ROWS = re.compile(r"independent_rows : (?P<rows>true|false)")
_TOKEN = re.compile(r'(?P<gap>(?:\s|#[^\n]*)+)|[A-Za-z_]\w*|\d+|"[^"\\\n]*"|[{}:\[\],;]', re.ASCII)

# A field's words, one blank between two of them.
_KEY, _VALUE = 'key : "(?P<key{0}>[^"]*)"', r"value : (?P<value{0}>\d+)"
_LABEL = re.compile(
    rf"version_labels(?: :)? \{{ (?:{_KEY.format(1)}(?: [,;])? {_VALUE.format(1)}"
    rf"|{_VALUE.format(2)}(?: [,;])? {_KEY.format(2)})(?: [,;])? \}}"
)
_POLICY = re.compile(
    r"model_version_policy(?: :)? \{ (?:latest(?: :)? \{ (?:num_versions : (?P<latest>\d+) (?:[,;] )?)?\}"
    r"|(?P<all>all)(?: :)? \{ \}"
    r"|specific(?: :)? \{ (?P<specific>(?:versions : (?:\d+|\[ \d+(?: , \d+)* \]) (?:[,;] )?)+)\})(?: [,;])? \}"
)


@dataclass(frozen=True)
class _Piece:
    """A stretch of the text, and what it sets: a label, the policy, whether rows are independent, or nothing."""

    text: str
    label: str = ""
    version: int = 0
    policy: bool = False
    latest: int = 0  # 0: all versions
    pinned: tuple[int, ...] = ()
    rows: bool | None = None


@dataclass(frozen=True)
class ServingConf:
    """The file's pieces in order; every change gives a new ServingConf."""

    pieces: tuple[_Piece, ...] = ()

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def labels(self) -> dict[str, int]:
        """Version numbers by label."""
        return {piece.label: piece.version for piece in self.pieces if piece.label}

    @property
    def pinned(self) -> tuple[int, ...]:
        """The versions that the policy `specific` names; none under any other policy."""
        return next((piece.pinned for piece in self.pieces if piece.policy), ())

    @property
    def independent_rows(self) -> bool | None:
        """Whether a server may batch, split and join requests; None: as the model itself declares."""
        return next((piece.rows for piece in self.pieces if piece.rows is not None), None)

    def default(self, versions: Iterable[int]) -> int:
        """Which of these versions answers a request without version and label: `stable`, else the newest; 0: none."""
        listed = self.listed(versions)
        stable = self.labels.get(STABLE, 0)
        return stable if stable in listed else max(listed, default=0)

    def listed(self, versions: Iterable[int]) -> list[int]:
        """Which of these versions are served, ascending: those the policy chooses, and those under a label."""
        present = sorted(versions)
        policy = next((piece for piece in self.pieces if piece.policy), _Piece("", latest=1))
        chosen = [number for number in present if number in policy.pinned] if policy.pinned else present
        if policy.latest:
            chosen = present[-policy.latest :]
        return sorted({*chosen, *(number for number in self.labels.values() if number in present)})

    def with_label(self, label: str, version: int) -> "ServingConf":
        """The label on this version, wherever it was before. Raises LabError for what cannot be a label."""
        if not NAME.fullmatch(label):
            raise LabError(
                f"A label cannot be called {label!r}: wanted are lower-case letters, digits, '.', '_' or '-', "
                "starting with a letter or digit, as in 'stable'."
            )
        text = f'version_labels {{ key: "{label}" value: {version} }}'
        return self._with(_Piece(text, label=label, version=version), lambda piece: piece.label == label)

    def without_label(self, label: str) -> "ServingConf":
        return self._without(lambda piece: piece.label == label)

    def with_independent_rows(self, independent: bool | None) -> "ServingConf":
        """The same with this setting, or without one for None."""
        if independent is None:
            return self._without(lambda piece: piece.rows is not None)
        text = f"independent_rows: {str(independent).lower()}"
        return self._with(_Piece(text, rows=independent), lambda piece: piece.rows is not None)

    def pin(self, version: int) -> "ServingConf":
        """Serve this version, and those under labels, and no other."""
        text = f"model_version_policy {{ specific {{ versions: {version} }} }}"
        return self._with(_Piece(text, policy=True, pinned=(version,)), lambda piece: piece.policy)

    def unpin(self) -> "ServingConf":
        """Serve the newest version again."""
        return self._without(lambda piece: piece.policy)

    def _with(self, new: _Piece, instead: Callable[[_Piece], bool]) -> "ServingConf":
        if any(instead(piece) for piece in self.pieces):
            return ServingConf(tuple(new if instead(piece) else piece for piece in self.pieces))
        gap = "" if not self.text or self.text.endswith("\n") else "\n"
        return ServingConf((*self.pieces, _Piece(gap), new, _Piece("\n")))

    def _without(self, gone: Callable[[_Piece], bool]) -> "ServingConf":
        kept: list[_Piece] = []
        cut = False
        for piece in self.pieces:
            if not gone(piece):
                kept.append(replace(piece, text=piece.text.removeprefix("\n")) if cut else piece)
            cut = gone(piece)
        return ServingConf(tuple(kept))


def read(path: Path) -> ServingConf:
    """The file's settings; an empty ServingConf when there is none. Raises LabError for one that is not understood."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return ServingConf()
    if len(data) > _LARGEST:
        raise _unknown(path, f"it is larger than {_LARGEST} bytes")
    try:
        return parse(data.decode())
    except ValueError as error:  # UnicodeDecodeError is one
        raise _unknown(path, str(error)) from error


def write(path: Path, conf: ServingConf) -> None:
    """Replace the file in one step, readable for the watcher; without anything in it, remove it."""
    if not conf.text.strip():
        path.unlink(missing_ok=True)
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".serving.conf-")
    fresh = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(conf.text)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(0o664)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def parse(text: str) -> ServingConf:
    """The text's pieces. Raises ValueError that names the line of what is not understood."""
    pieces = tuple(_pieces(text))
    labels = [piece.label for piece in pieces if piece.label]
    twice = next((f"label {label!r}" for label in labels if labels.count(label) > 1), "")
    if sum(piece.policy for piece in pieces) > 1:
        twice = "model_version_policy"
    if sum(piece.rows is not None for piece in pieces) > 1:
        twice = "independent_rows"
    if twice:
        raise ValueError(f"{twice} is given twice")
    return ServingConf(pieces)


def _pieces(text: str) -> Iterator[_Piece]:
    at, start, depth = 0, 0, 0
    words: list[str] = []
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise ValueError(f"line {_line(text, at)} has an unexpected {text[at]!r}")
        at = found.end()
        if found["gap"]:
            if not words:
                yield _Piece(found.group())
                start = at
            continue
        words.append(found.group())
        depth += {"{": 1, "}": -1}.get(found.group(), 0)
        ends = words[0] == "independent_rows" and len(words) == 3
        if (found.group() == "}" and depth <= 0) or ends:
            yield _field(" ".join(words), text[start:at], _line(text, start))
            words, start, depth = [], at, 0
    if words:
        raise ValueError(f"line {_line(text, start)}: {words[0]} has no end")


def _field(words: str, text: str, line: int) -> _Piece:
    label, policy = _LABEL.fullmatch(words), _POLICY.fullmatch(words)
    if label and NAME.fullmatch(label["key1"] or label["key2"]):
        return _Piece(text, label=label["key1"] or label["key2"], version=_number(label["value1"] or label["value2"]))
    if policy and policy["specific"]:
        return _Piece(text, policy=True, pinned=tuple(map(_number, re.findall(r"\d+", policy["specific"]))))
    if policy:
        return _Piece(text, policy=True, latest=0 if policy["all"] else _number(policy["latest"] or "1"))
    if rows := _ROWS.fullmatch(words):
        return _Piece(text, rows=rows["rows"] == "true")
    raise ValueError(f"line {line}: not a version label, version policy or independent_rows: {words[:60]}")


def _number(digits: str) -> int:
    if len(digits) > 19 or not 1 <= int(digits) <= MAX_VERSION:
        raise ValueError(f"{digits[:30]} is no version")
    return int(digits)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _unknown(path: Path, reason: str) -> LabError:
    return LabError(
        f"{path} is not changed, because it is not understood: {reason}. Wanted are version_labels, "
        "model_version_policy and independent_rows, as tensor-serving-gpu/README.md has them; put it right, or move it "
        "away."
    )
