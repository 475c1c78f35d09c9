"""Which of a model's versions are served: TF Serving's three version policies."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Policy:
    """A version policy; `count` belongs to latest, `versions` to specific. The default is TF Serving's: the newest."""

    kind: Literal["latest", "all", "specific"] = "latest"
    count: int = 1
    versions: tuple[int, ...] = ()

    def choose(self, present: Iterable[int]) -> list[int]:
        """Return the versions to serve out of those present, ascending. Newest means the largest number."""
        ascending = sorted(present)
        if self.kind == "latest":
            return ascending[-self.count :]
        if self.kind == "specific":
            return [version for version in ascending if version in self.versions]
        return ascending
