"""`serving.conf`: the few ModelConfig fields a model may set for itself, in protobuf's text form.

    # keep the two newest, and call version 7 stable
    model_version_policy { latest { num_versions: 2 } }      (or: all {}   or: specific { versions: 5 versions: 7 })
    version_labels { key: "stable" value: 7 }
    # requests may be batched, split and joined; false forbids it whatever the versions declare
    independent_rows: true

Anything else is refused as a whole: a file read half would serve something not configured. `independent_rows` is
not a field of ModelConfig; this file is read by the watcher and the embedded server, never by TensorFlow Serving.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tensor_serving.layout import NAME
from tensor_serving.policy import Policy
from tensor_serving.proto_scanner import open_regular

_LARGEST_FILE = 64 * 1024
_TOKEN = re.compile(
    r'\s+|#[^\n]*|(?P<word>[A-Za-z_]\w*)|(?P<number>\d+)|(?P<text>"[^"\\\n]*")|(?P<sign>[{}:\[\],;])', re.ASCII
)


class ConfError(ValueError):
    """The file cannot be used. The text names what was found where, and what was expected."""


@dataclass(frozen=True)
class ServingConf:
    """What a model sets for itself: the version policy, version numbers by label, whether rows are independent."""

    policy: Policy = field(default_factory=Policy)
    labels: dict[str, int] = field(default_factory=dict)
    independent_rows: bool | None = None


def read(path: Path) -> ServingConf:
    """Return the settings of the file, or the defaults when there is none. Raises ConfError."""
    try:
        with open_regular(path) as file:
            data = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        return ServingConf()
    except OSError as error:
        raise ConfError(f"cannot be read: {error.strerror}") from error
    if len(data) > _LARGEST_FILE:
        raise ConfError(f"is larger than {_LARGEST_FILE} bytes")
    try:
        return parse(data.decode())
    except UnicodeDecodeError as error:
        raise ConfError(f"is not UTF-8 at byte {error.start}") from error


def parse(text: str) -> ServingConf:
    """Return the settings of the text. Raises ConfError."""
    tokens = _Tokens(text)
    policy: Policy | None = None
    labels: dict[str, int] = {}
    independent: bool | None = None
    while tokens.head:
        name = tokens.take_field(("model_version_policy", "version_labels", "independent_rows"))
        if name == "independent_rows":
            if independent is not None:
                raise tokens.error("independent_rows is given twice")
            independent = tokens.take_bool()
        elif name == "version_labels":
            key, value = _label(tokens)
            if key in labels:
                raise tokens.error(f"label {key!r} is given twice")
            labels[key] = value
        elif policy is None:
            policy = _policy(tokens)
        else:
            raise tokens.error("model_version_policy is given twice")
    return ServingConf(policy or Policy(), labels, independent)


def _policy(tokens: "_Tokens") -> Policy:
    found: list[Policy] = []

    def choice(name: str) -> None:
        numbers: list[int] = []
        inner = {"latest": ("num_versions",), "specific": ("versions",), "all": ()}[name]
        tokens.message(inner, lambda _: numbers.extend(tokens.take_numbers()))
        if name == "latest" and len(numbers) > 1:
            raise tokens.error("num_versions is given twice")
        if name == "specific" and not numbers:
            raise tokens.error("specific names no versions")
        found.append(
            {
                "latest": Policy("latest", numbers[0] if numbers else 1),
                "specific": Policy("specific", versions=tuple(numbers)),
                "all": Policy("all"),
            }[name]
        )

    tokens.message(("latest", "all", "specific"), choice)
    if len(found) != 1:
        raise tokens.error(f"model_version_policy holds {len(found)} policies, wanted one of latest, all, specific")
    return found[0]


def _label(tokens: "_Tokens") -> tuple[str, int]:
    found: dict[str, str | int] = {}

    def part(name: str) -> None:
        if name in found:
            raise tokens.error(f"{name} is given twice")
        found[name] = tokens.take_text() if name == "key" else tokens.take_numbers(several=False)[0]

    tokens.message(("key", "value"), part)
    key, value = found.get("key"), found.get("value")
    if not isinstance(key, str) or not isinstance(value, int):
        raise tokens.error("version_labels wants a key and a value")
    if not NAME.fullmatch(key):
        raise tokens.error(f"label {key!r} is not of the form {NAME.pattern}")
    return key, value


class _Tokens:
    """The words of the text, one ahead; `head` is empty at the end."""

    def __init__(self, text: str) -> None:
        self._text, self._end, self._line = text, 0, 1
        self.head, self._kind = "", ""
        self._next()

    def error(self, what: str) -> ConfError:
        return ConfError(f"line {self._line}: {what}")

    def _next(self) -> str:
        taken = self.head
        self.head, self._kind = "", ""
        while self._end < len(self._text) and not self.head:
            match = _TOKEN.match(self._text, self._end)
            if not match:
                raise self.error(f"unexpected character {self._text[self._end]!r}")
            self._line += match.group().count("\n")
            self._end = match.end()
            if match.lastgroup:
                self.head, self._kind = match.group(), match.lastgroup
        return taken

    def _take(self, kind: str, wanted: str) -> str:
        if self._kind != kind:
            raise self.error(f"found {self.head or 'the end'}, wanted {wanted}")
        return self._next()

    def _skip(self, *signs: str) -> bool:
        return bool(self.head in signs and self._next())

    def _sign(self, sign: str) -> None:
        if not self._skip(sign):
            raise self.error(f"found {self.head or 'the end'}, wanted {sign}")

    def take_field(self, names: tuple[str, ...]) -> str:
        name = self._take("word", " or ".join(names) or "}")
        if name not in names:
            raise self.error(f"unknown field {name}, wanted {' or '.join(names) or 'none here'}")
        return name

    def message(self, names: tuple[str, ...], each: Callable[[str], None]) -> None:
        """Read `{ field ... }`, calling `each` with every field's name; it must take the value."""
        self._skip(":")
        self._sign("{")
        while not self._skip("}"):
            each(self.take_field(names))
            self._skip(",", ";")

    def take_numbers(self, several: bool = True) -> list[int]:
        """Read `: 5`, or `: [5, 7]` where several are allowed. All numbers here are positive and fit an int64."""
        self._sign(":")
        if not (several and self._skip("[")):
            return [self._number()]
        numbers = [self._number()]
        while self._skip(","):
            numbers.append(self._number())
        self._sign("]")
        return numbers

    def _number(self) -> int:
        number = self._take("number", "a number")
        if len(number) > 19 or not 0 < int(number) < 2**63:
            raise self.error(f"{number} is not between 1 and 2^63-1")
        return int(number)

    def take_bool(self) -> bool:
        """Read `: true` or `: false`."""
        self._sign(":")
        word = self._take("word", "true or false")
        if word not in ("true", "false"):
            raise self.error(f"found {word}, wanted true or false")
        return word == "true"

    def take_text(self) -> str:
        self._sign(":")
        return self._take("text", "a text in double quotes")[1:-1]
