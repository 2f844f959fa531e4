"""What every layout of a source promises, and the rules that all of them share: columns, splits, labels."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np

from lib.errors import PermanentError, printable, shortened
from lib.images.source_files import OPTION, Refused

LARGEST_IMAGE_BYTES = 100 << 20
LONGEST_LABEL = 200
"""Characters."""
Split = Literal["train", "validation", "test"]
KEYWORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""As Hugging Face has them."""
UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""In a label: control characters, and halves of characters."""
IMAGE_COLUMNS = ("file_name", "image", "path", "file", "filename", "filepath", "image_path", "img")
LABEL_COLUMNS = ("label", "class", "target", "category", "label_name", "class_name", "y")
SPLIT_COLUMN = "split"


class Columns(NamedTuple):
    """The names of columns that a person gave; None: to be found."""

    image: str | None = None
    label: str | None = None
    group: str | None = None


TO_BE_FOUND = Columns()


class SourceImage(NamedTuple):
    """One image, not read yet."""

    place: str
    """For people, the same each time: a path, or `file.parquet:row 17`; rows are numbered from 0."""
    label: str
    split: Split | None
    group: str | None
    read: Callable[[], bytes]
    """The bytes of its file. Raises NotFound, TooLarge, PermanentError or TransientError."""
    pixels: np.ndarray | None = None
    """(H, W, C) uint8, read-only, where the source has pixels and no file; `read` gives the same bytes."""


Make = Callable[[list[Refused]], Iterator[SourceImage]]
"""The images, in order; what is refused on the way is added to the list."""


class Layout:
    """How images and labels lie in a source."""

    def __init__(
        self,
        description: str,
        splits_given: bool,
        refused: Iterable[Refused],
        make: Make,
        class_names: Iterable[str] = (),
    ) -> None:
        self.description = printable(description)
        """One line for people: what was found before any image was read."""
        self.splits_given = splits_given
        """Whether the images have splits, at least two. What lies in a single one has none: it says nothing."""
        self.refused = list(refused)
        """What is left out; complete once `images` has come to its end."""
        self.class_names = tuple(same_text(name) for name in class_names)
        """In the order that the source numbers them; empty where it numbers none."""
        self._known = tuple(refused)
        self._make = make

    def images(self) -> Iterator[SourceImage]:
        """All images, by the bytes of their paths and then by row, however the source lists them."""
        self.refused = list(self._known)
        return self._make(self.refused)


def split_of(text: str) -> Split | None:
    """The split that `text` is a keyword for; None where it is none."""
    return KEYWORDS.get(text.strip().lower())


def split_of_path(path: str) -> Split | None:
    """As Hugging Face has it: of a word of the file's name, or else of a whole folder's name."""
    *folders, name = path.split("/")
    words = re.split("[^a-z]+", name.rpartition(".")[0].lower())
    for texts in (words, reversed(folders)):
        found = {split for text in texts if (split := split_of(text))}
        if len(found) == 1:
            return found.pop()
    return None


def are_splits(counts: Mapping[Split | None, int], place: str) -> bool:
    """Whether `counts` of images tell splits. Raises PermanentError where there are some and none to train on."""
    named = [split for split in get_args(Split) if counts.get(split)]
    if len(named) > 1 and "train" not in named:
        raise PermanentError(f"{place} must have a split train; received {' and '.join(named)}; name one so")
    return len(named) > 1


def of_splits(counts: Mapping[Split | None, int]) -> str:
    """`; train 3,000, test 245`, for a description."""
    parts = [f"{split} {counts[split]:,}" for split in get_args(Split) if counts.get(split)]
    return f"; {', '.join(parts)}" if len(parts) > 1 else ""


def find_column(names: list[str], wanted: str | None, candidates: Iterable[str], what: str, place: str) -> str | None:
    """The column `wanted`, or the only one of `candidates` (small letters) in `names`; None where there is none.

    `what` is image, label or group. Raises PermanentError where `wanted` is missing, or several columns could be meant.
    """
    option = f"--{what}-column"
    if wanted is not None:
        found = [name for name in names if name == wanted]
        if not found:
            raise no_column(names, f"the column {shortened(wanted)}, as {option} says", what, place)
    else:
        known = set(candidates)
        found = [name for name in names if name.strip().lower() in known]
    if len(found) > 1:
        raise PermanentError(
            f"{place} must have one {what} column; received {shortened(', '.join(found))}; name one by {option}"
        )
    return found[0] if found else None


def no_column(names: list[str], rule: str, what: str, place: str) -> PermanentError:
    """That `place` has no such column."""
    return PermanentError(
        f"{place} must have {rule}; received the columns {shortened(', '.join(names))}; name one by --{what}-column"
    )


def text_of(value: object) -> str | None:
    """A label or a group as text; None where it is missing. Raises ValueError, whose text is a reason.

    A value that is a ValueError is such a reason already.
    """
    if isinstance(value, ValueError):
        raise value
    if value is None or (isinstance(value, float) and math.isnan(value)):  # as pandas has missing values
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as pandas has whole numbers where some are missing
    if not isinstance(value, str | int):
        raise ValueError(f"{shortened(repr(value))} where a text or a whole number must stand")
    text = same_text(str(value))
    if len(text) > LONGEST_LABEL:
        raise ValueError(f"a text of {len(text):,} characters; at most {LONGEST_LABEL} may stand there")
    if UNWRITABLE.search(text):
        raise ValueError(f"{shortened(repr(text))}, which has characters that cannot be written")
    return text or None


def same_text(text: str) -> str:
    """What names that look the same have in common: a Mac's é is two characters, and that of others one."""
    return unicodedata.normalize("NFC", text.strip())


def spellings(path: str) -> list[str]:
    """How other systems write `path`: a list made on a Mac may be of files that are named elsewhere."""
    return [other for form in ("NFC", "NFD") if (other := unicodedata.normalize(form, path)) != path]


def required(text: str | None, what: str) -> str:
    """`text`. Raises ValueError where it is missing."""
    if text is None:
        raise ValueError(f"no {what}")
    return text


def all_refused(place: str, refused: list[Refused]) -> PermanentError:
    """That nothing is left of `place`."""
    first = ": ".join(map(shortened, refused[0])) if refused else "it has no rows"
    return PermanentError(
        f"{place} must have rows that can be used; received none: {first}; mend it, or {OPTION} another"
    )
