"""Reports of 10 and of 100 classes for everybody: judged by axe-core, by keyboard, in the dark, offline."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from lib.lineage.manifests import Ref, load, local_file
from lib.reporting.report import build_report, report_markdown
from lib.reporting.report_list import write_report_list
from lib.store import LocalStore
from tasks.publishing import LARGEST_MARKDOWN_BYTES

from . import made

pytestmark = pytest.mark.slow
MODELS = 8


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of 10 classes, of 100, and the list of reports; each report is the second of its dataset, with alerts."""
    store = LocalStore(tmp_path_factory.mktemp("store"))
    digits = made.prepared_digits(store)
    hundred = made.prepared_hundred(store, tmp_path_factory.mktemp("mirror"))
    found = {
        "10 classes": _second(store, digits, 2, "digits-cnn"),
        "100 classes": _second(store, hundred, MODELS, "alexnet"),
    }
    write_report_list(store, "cifar100")
    return found | {"list": store.root / "reports/cifar100/index.html"}


def _second(store: LocalStore, prepared: Ref, models: int, recipe: str) -> Path:
    shares = {"right": (1.0, 0.9, 0.9), "scattered": True}
    build_report(store, prepared, [made.evaluated(store, prepared, recipe, seed=99, **shares)])
    refs = [
        made.evaluated(store, prepared, recipe, (1, 0.9 - seed / 20, 0.8), seed=seed, collapsed=3, scattered=True)
        for seed in range(models)
    ]
    report = build_report(store, prepared, refs, {"slow": "diverged"})
    assert len(report_markdown(store, report).encode()) < LARGEST_MARKDOWN_BYTES, "Prefect is given all of it"
    return local_file(store, load(store, report), "index")


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["10 classes", "100 classes", "list"])
def test_nobody_is_left_out_and_nothing_leaves_the_file(
    browser: Browser, pages: dict[str, Path], name: str, scheme: str, width: int
) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})  # type: ignore[arg-type]
    requests, said = list[str](), list[str]()
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(pages[name].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = _violations(page)
    if name == "10 classes":  # a hundred have no other elements, and would take a minute
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        found += _violations(page)
    assert found == []
    assert [each for each in requests if not each.startswith("data:")] == [pages[name].as_uri()]
    assert said == []
    page.close()


def _violations(page: Page) -> list[str]:
    """Those that axe-core calls moderate or worse."""
    from axe_playwright_python.sync_playwright import Axe  # half a megabyte of script, which only slow tests read

    found = Axe().run(page).response["violations"]
    return [
        f"{each['impact']} {each['id']}: {each['nodes'][0]['html'][:200]} and {len(each['nodes']) - 1} more"
        for each in found
        if each["impact"] != "minor"
    ]


def test_a_report_of_8_models_of_100_classes_is_small_and_reads_without_script(
    browser: Browser, pages: dict[str, Path]
) -> None:
    assert pages["100 classes"].stat().st_size <= 3_000_000
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(pages["100 classes"].as_uri())
    matrix = page.locator(".matrix").first
    assert matrix.locator("svg > image").is_visible()
    assert page.locator("#frame .row").count() == 100
    assert matrix.get_by_label("full size, to scroll in").is_visible()
    page.context.close()


def test_a_cell_of_the_matrix_says_what_it_holds_to_mouse_and_keyboard(
    browser: Browser, pages: dict[str, Path]
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(pages["10 classes"].as_uri())
    said, pan = page.locator(".matrix .read").first, page.locator(".matrix .pan").first
    page.get_by_label("zoom").first.focus()
    page.keyboard.press("Tab")
    assert pan.evaluate("each => each === document.activeElement")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    assert re.fullmatch(r"true 3, predicted 9: \d+ of 15", said.inner_text())
    box = page.locator(".matrix svg > image").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.15, box["y"] + box["height"] * 0.05)
    assert said.inner_text().startswith("true 0, predicted 1: ")
    page.close()
