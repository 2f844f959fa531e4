"""One store with a report of two models, for all tests of reports: they add to it and change nothing."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

from lib.lineage.manifests import Ref
from lib.reporting.report import build_report
from lib.store import LocalStore

from . import made


@contextmanager
def without_drawing() -> Iterator[None]:
    """Each picture is made.PNG: drawing takes time, and pictures are outside the ref."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lib.reporting.pictures.draw", made.undrawn)
        yield


@pytest.fixture(autouse=True)
def undrawn() -> Iterator[None]:
    with without_drawing():
        yield


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    return LocalStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def prepared(store: LocalStore) -> Ref:
    return made.prepared_digits(store)


@pytest.fixture(scope="session")
def evaluations(store: LocalStore, prepared: Ref) -> list[Ref]:
    """A baseline that is better on test, and a model that is better on validation."""
    return [
        made.evaluated(store, prepared, "digits-softmax", (0.9, 0.5, 1.0), baseline=True, seconds=4.2),
        made.evaluated(store, prepared, "digits-cnn", (1.0, 0.75, 0.8), seconds=75.0),
    ]


@pytest.fixture(scope="session")
def report(store: LocalStore, prepared: Ref, evaluations: list[Ref]) -> Ref:
    with without_drawing():
        return build_report(store, prepared, evaluations)


@pytest.fixture(scope="session")
def page(store: LocalStore, report: Ref) -> str:
    return made.index(store, report)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium_path = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium_path is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()
