"""Retention runs again and again beside six trainings and takes nothing that they use."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib.lineage.index import read_index
from lib.lineage.kept import GRACE_S, Policy
from lib.lineage.manifests import Manifest
from lib.lineage.retention import apply, plan
from lib.store import LocalStore
from tests.lib.lineage.made import assert_whole

from .conftest import Commands

RUN = ("--dataset", "digits", "--models", "digits-softmax", "--epochs", "1")
SEEDS = range(1, 7)


@pytest.mark.slow
def test_retention_beside_six_trainings_loses_nothing(commands: Commands, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    assert commands.run("flows.train", *RUN, "--seed", "0", "--store", store.uri).returncode == 0
    for path in store.root.rglob("*"):  # all of it is old: the data, and the first of the models
        os.utime(path, (time.time() - 2 * GRACE_S,) * 2)
    ended, cleaned = threading.Event(), 0

    def clean() -> None:
        nonlocal cleaned
        while not ended.is_set():
            policy = Policy(keep=1)
            apply(store, policy, plan(store, policy).removals)
            cleaned += 1

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    with ThreadPoolExecutor(2) as pool:
        runs = pool.map(
            lambda seed: commands.run("flows.train", *RUN, "--seed", str(seed), "--store", store.uri), SEEDS
        )
        codes = [(run.returncode, run.stderr[-2000:]) for run in runs]
    ended.set()
    cleaner.join()
    assert [code for code, _ in codes] == [0] * len(SEEDS), codes
    assert cleaned > 10
    assert {each.facts["seed"] for each in outputs(store, "models")} >= {*SEEDS}
    assert {each.facts["leaderboard"][0]["seed"] for each in outputs(store, "reports")} >= {*SEEDS}
    assert_whole(store)


def outputs(store: LocalStore, folder: str) -> list[Manifest]:
    return [*read_index(store, store.list(folder)).outputs.values()]
