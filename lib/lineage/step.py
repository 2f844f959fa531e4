"""What a step is: a kind of output, where it lies, what makes it, how it is verified and how long it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from string import Formatter
from typing import Any, Literal

from pydantic import BaseModel

from lib.lineage.digests import digest_json

KEY_LENGTH = 16


class Kept(Enum):
    """How long `flows.retention --keep N` keeps an output."""

    ALWAYS = "always"
    NEWEST_N = "the newest N of each folder, tries apart, and the best"
    WITH_INPUTS = "as long as what it was made of"
    WHILE_USED = "as long as something kept was made of it"


@dataclass(frozen=True)
class Step:
    """A kind of output. Functions are named as `module:function`, since this table lies below all of them."""

    kind: str
    version: int
    does: str
    """What a plan calls it; braces stand for what it is told of."""
    folder: str
    """Where its outputs lie; braces stand for names."""
    key: tuple[str, ...]
    """What its key is made of: other steps' outputs by their kind, settings by their name."""
    per: Literal["source", "dataset", "backbone", "model", "prepared", "promotion", "report", "input"]
    """Made once for each of these."""
    verified_by: str
    """`(store, address, manifest) → lib.lineage.verify.Recomputed`: what the manifest must say, worked out anew."""
    kept: Kept
    says: Mapping[str, Any] = field(default_factory=dict)
    """What others read of its manifest: place → type. A manifest without one of these is refused as it is loaded."""
    job: str | None = None
    """What runs in a process of its own to make it (`lib.runtime.jobs`); None: it is made in the flow's process."""
    only_for: Literal["all", "pretrained", "frozen"] = "all"
    """The recipes whose training needs it: all, or those with such a backbone."""
    asked_by: str | None = None
    """The field of a request that asks for it; None: every run makes it."""

    def address(self, **values: Any) -> str:
        """Where the output made of `values` lies: of these, what folder and key name."""
        return self.address_in(self.version, **values)

    def address_in(self, version: int, **values: Any) -> str:
        """The same in another version of the step."""
        inputs = {name: _plain(values[name]) for name in self.key}
        key = digest_json({"version": version, **inputs})[:KEY_LENGTH]
        return f"{self.folder.format_map(values)}/{key}"

    def is_known(self, values: Mapping[str, Any]) -> bool:
        """Whether `values` are enough for `address`."""
        named = {name for _, name, _, _ in Formatter().parse(self.folder) if name}
        return named | set(self.key) <= set(values)

    @property
    def root(self) -> str:
        """The folder of the store in which all its outputs lie."""
        return self.folder.split("/", 1)[0]


def _plain(value: Any) -> Any:
    """As it stands in the key. Where several outputs are named, their order does not count."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list):
        return sorted((_plain(each) for each in value), key=str)
    return value
