"""The report in a real browser: on a desktop, on a phone, in the dark and on paper."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from lib.lineage.manifests import Ref, load, local_file
from lib.reporting.report import build_report
from lib.reporting.report_list import write_report_list
from lib.store import LocalStore

from . import made

pytestmark = pytest.mark.slow
MODELS = 7


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """One of its own: how long a page is depends on whether there was a report before."""
    return LocalStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def prepared(store: LocalStore) -> Ref:
    return made.prepared_digits(store)


@pytest.fixture(scope="module")
def address(store: LocalStore, prepared: Ref) -> str:
    """A report of many models, one of them with a long list of changes."""
    refs = [made.evaluated(store, prepared, seed=seed, dropout=0.1 + seed / 100) for seed in range(MODELS)]
    report = build_report(store, prepared, refs, {"digits-cnn-gpu": "runs on a GPU"})
    return local_file(store, load(store, report), "index").as_uri()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_as_wide_as_the_screen_and_a_tenth_as_long_as_all_of_it(
    browser: Browser, address: str, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(address)
    height, wide = page.evaluate("[document.documentElement.scrollHeight, document.documentElement.scrollWidth]")
    assert wide == width
    assert height < 9_000
    cut = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(each => each.checkVisibility() && "
        "each.scrollWidth > each.clientWidth).map(each => each.innerText)"
    )
    assert cut == [], "each open table fits"


@pytest.mark.parametrize("width", [390, 1280])
def test_the_list_of_reports_is_as_wide_as_the_screen_and_leads_to_each(
    browser: Browser, address: str, store: LocalStore, width: int
) -> None:
    write_report_list(store, "digits")
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto((store.root / "reports/digits/index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    fits = "(each => each.scrollWidth == each.clientWidth)(document.querySelector('.scroll'))"
    assert page.evaluate(fits)
    page.click(f"a[href='{'/'.join(address.split('/')[-2:])}']")
    assert page.url == address
    page.close()


def test_a_link_to_a_folded_model_opens_it(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address)
    opened = "[...document.querySelectorAll('details.model')].map(each => each.open)"
    assert page.evaluate(opened) == [True] + [False] * (MODELS - 1)
    page.click(f"nav a[href='#model-{MODELS}']")
    assert page.evaluate(opened) == [True] + [False] * (MODELS - 2) + [True]


def test_charts_are_dark_in_the_dark_and_white_on_paper(browser: Browser, address: str) -> None:
    page = browser.new_context(color_scheme="dark").new_page()
    page.goto(address)
    seen = "getComputedStyle(document.querySelector('.chart img')).filter"
    assert "invert" in page.evaluate(seen)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(seen) == "none"


def test_it_prints_on_few_pages(browser: Browser, address: str, tmp_path: Path) -> None:
    page = browser.new_page()
    page.goto(address)
    assert page.evaluate("document.documentElement.outerHTML.length") < 3_000_000
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").read_bytes().count(b"/Type /Page\n") <= 8
