"""Files that are whole and not those of the dataset: what is said tells whose they are, and what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lib.data.datasets import DATASETS, SplitDigests
from lib.data.fetch import fetch
from lib.data.ingest import ingest
from lib.errors import PermanentError
from lib.store import LocalStore

from .publisher import FILES, TOY, quiet


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


SWAPPED: dict[str, tuple[dict[str, bytes], str]] = {
    "train images as test images": ({"test_images": FILES["train-images"]}, "test-images.gz must hold (1, 1, 2); its"),
    "test images as train images": ({"train_images": FILES["test-images"]}, "train-images.gz must hold (2, 1, 2); its"),
    "labels as images": ({"train_images": FILES["train-labels"]}, "train-images.gz must be IDX of unsigned bytes in 3"),
    "images of another dataset": ({"test_images": FILES["test-images"][:-1] + b"!"}, "toy: test images must have sha2"),
    "labels of another dataset": ({"test_labels": FILES["test-labels"][:-1] + b"\0"}, "toy: test labels must have sha"),
}


@pytest.mark.parametrize("name", SWAPPED)
def test_files_that_were_swapped_are_said_to_be_the_mirrors_or_the_publishers(
    name: str, store: LocalStore, mirror: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, says = SWAPPED[name]
    url = mirror(**changed)
    with pytest.raises(PermanentError) as error:
        ingest(TOY, store, url, quiet)
    assert str(error.value).startswith(says)
    assert str(error.value).endswith(
        "; check MIRROR_URL: each file there must be the publisher's own, under the publisher's name for it"
    )
    monkeypatch.setattr("lib.data.ingest.fetch", lambda file, _, *more: fetch(file, url, *more))
    with pytest.raises(PermanentError) as error:
        ingest(TOY, store, None, quiet)
    assert str(error.value).startswith(says)
    assert str(error.value).endswith("; run again to fetch it anew, or set MIRROR_URL to a place that has the file")
    assert store.list("raw") == []


def test_data_that_came_with_a_package_are_said_to_be_the_packages(store: LocalStore) -> None:
    other = SplitDigests(images="0" * 64, labels="0" * 64)
    spec = DATASETS["digits"].model_copy(update={"digests": {"train": other, "test": other}})
    with pytest.raises(PermanentError, match=r"; they come with scikit-learn: install its version of requirements"):
        ingest(spec, store, None, quiet)
