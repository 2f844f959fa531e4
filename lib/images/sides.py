"""On which side of a dataset an image of a person's own is: train, validation or test."""

from collections.abc import Iterable
from hashlib import blake2b

from lib.lineage.steps import SPLITS

TEST_SHARE, VALIDATION_SHARE = 0.1, 0.1


def side_of(identity: str, given: str | None, splits_given: frozenset[str]) -> str:
    """The split of an image, which never changes when other images come or go.

    `identity` is its group, or a digest of its pixels: what has the same is on one side. `given` is the split that its
    source names, if any; of those in `splits_given` nothing is taken, but for train, which lends what is missing.
    """
    if given and given != "train":
        return given
    place = _place(identity)
    if "test" not in splits_given and place < TEST_SHARE:
        return "test"
    if "validation" not in splits_given and TEST_SHARE <= place < TEST_SHARE + VALIDATION_SHARE:
        return "validation"
    return "train"


def splits_given(given: Iterable[str | None]) -> frozenset[str]:
    """The splits that a source names."""
    return frozenset(each for each in given if each in SPLITS)


def _place(identity: str) -> float:
    """From 0 to 1, evenly over all identities."""
    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest()) / 2**64
