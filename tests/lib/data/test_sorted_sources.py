"""However a source is sorted, its rows come in the same order, at random as to class."""

import itertools
from pathlib import Path

import numpy as np

from lib.images.collect import collect, images_of, look
from lib.lineage.manifests import load
from lib.store import LocalStore

from .own_images import CLASSES, source, write_folder

COUNT = 40


def test_a_source_that_is_sorted_by_class_gives_the_rows_of_a_shuffled_one(tmp_path: Path) -> None:
    here, folder = LocalStore(tmp_path / "store"), write_folder(tmp_path / "colours", COUNT)
    lines = [f"{name}/{number}.png,{name}" for name in CLASSES for number in range(COUNT)]
    keys = set()
    for order in (lines, np.random.default_rng(0).permutation(lines)):
        (folder / "list.csv").write_text("\n".join(["path,label", *order]))
        own = source(folder / "list.csv")
        ref = collect(own, look(own, tmp_path / "cache"), here, None, lambda count: None)
        keys.add(ref.uri)
    assert len(keys) == 1
    labels = [row.label for row in images_of(here, load(here, ref))]
    assert sum(now != then for now, then in itertools.pairwise(labels)) > COUNT, "classes alternate"
