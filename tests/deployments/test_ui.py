"""What a person sees in the Prefect UI, in a real browser. SCREENSHOTS names a folder to keep the pictures in."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from lib.models.recipes import RECIPES
from tests.running_stack import Run, RunningStack

from .conftest import QUICK_SAID

pytestmark = pytest.mark.stack
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE_MS = 30_000
WIDTH, HEIGHT = 1280, 900


class Browser:
    """A page of the stack's UI, and a picture of each that was opened."""

    def __init__(self, page: Page, stack: RunningStack, pictures: Path) -> None:
        self.page, self.pictures = page, pictures
        self.address = stack.environment["PREFECT_API_URL"].removesuffix("/api")
        self.password = stack.environment["PREFECT_API_AUTH_STRING"]
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)

    def log_in(self) -> None:
        """Once, as a person does; the browser keeps it."""
        self.page.goto(self.address)
        self.page.get_by_placeholder("admin:pass").fill(self.password)
        self.keep("login")
        self.page.get_by_placeholder("admin:pass").press("Enter")
        expect(self.page.get_by_text("Dashboard").first).to_be_visible()

    def open(self, path: str, shows: str) -> Page:
        """Go to `path` and wait until the page has the text `shows`."""
        self.page.goto(f"{self.address}/{path}")
        expect(self.page.get_by_text(shows).first).to_be_visible()
        self.page.wait_for_load_state("networkidle")
        return self.page

    def keep(self, name: str) -> None:
        self.page.screenshot(path=self.pictures / f"{name}.png")


@pytest.fixture(scope="module")
def browser(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    pictures = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    pictures.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        browser = Browser(chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}), stack, pictures)
        browser.log_in()
        yield browser
        chromium.close()


def artifact(stack: RunningStack, key: str, run: str) -> str:
    """The page of what `run` shows as `key`."""
    (found,) = stack.post("artifacts/filter", artifacts={"key": {"any_": [key]}, "flow_run_id": {"any_": [run]}})
    return f"artifacts/artifact/{found['id']}"


def is_cut_off(page: Page, text: str) -> bool:
    """Whether the element with `text` ends right of what its table shows."""
    return bool(
        page.get_by_text(text, exact=True).first.evaluate(
            "cell => { const box = cell.closest('table').parentElement; "
            "return cell.getBoundingClientRect().right > box.getBoundingClientRect().right; }"
        )
    )


def test_the_run_says_what_it_did(browser: Browser, stack: RunningStack, trained: Run) -> None:
    page = browser.open(f"runs/flow-run/{trained['id']}", shows="train all on digits")
    expect(page.get_by_text("Completed").first).to_be_visible()
    for recipe in ("digits-cnn", "digits-cnn-gpu", "digits-softmax"):
        pool = RECIPES[recipe].runs_on
        told = f"{recipe} is trained by the run train {recipe} on digits{QUICK_SAID} in the pool {pool}"
        expect(page.get_by_text(told).first).to_be_visible()
    page.wait_for_timeout(2000)  # the graph is drawn on a canvas
    browser.keep("run-page")
    page.get_by_text("Task Runs", exact=True).click()
    page.get_by_role("link", name="report on digits").click()
    expect(page).to_have_url(re.compile("/task-run/"))
    expect(page.get_by_text("Task inputs")).to_be_visible()
    browser.keep("task")


def test_a_training_shows_its_progress_by_epoch(browser: Browser, stack: RunningStack, trained: Run) -> None:
    name = f"train digits-cnn on digits{QUICK_SAID}"
    (child,) = (each for each in stack.children(trained["id"]) if each["name"] == name)
    page = browser.open(
        artifact(stack, "progress-digits-cnn-on-digits", child["id"]), shows="accuracy on validation by epoch"
    )
    expect(page.get_by_text("epoch 3 of 3").first).to_be_visible()
    expect(page.get_by_text("100%").first).to_be_visible()
    browser.keep("progress")


def test_the_leaderboard_compares_the_models(browser: Browser, stack: RunningStack, trained: Run) -> None:
    page = browser.open(artifact(stack, "leaderboard-digits", trained["id"]), shows="Validation accuracy")
    for recipe in ("digits-cnn", "digits-cnn-gpu", "digits-softmax"):
        expect(page.get_by_text(recipe, exact=True).first).to_be_visible()
    assert not is_cut_off(page, "Training time")
    browser.keep("leaderboard-artifact")


def test_the_report_shows_its_pictures_and_links_to_the_bucket(
    browser: Browser, stack: RunningStack, trained: Run
) -> None:
    page = browser.open(
        artifact(stack, "report-digits", trained["id"]), shows="Optical recognition of handwritten digits"
    )
    pictures = page.locator("img[src^='data:image/png']")
    expect(pictures.nth(2)).to_be_attached()  # two drawings, and the surest mistakes one by one
    drawn = pictures.evaluate_all("all => all.map(each => each.complete && each.naturalWidth > 30)")
    assert all(drawn)
    assert not is_cut_off(page, "Training time")
    browser.keep("report")
    pictures.nth(2).scroll_into_view_if_needed()
    browser.keep("report-pictures")

    page = browser.open(artifact(stack, "report-file-digits", trained["id"]), shows="The report as one page")
    link = page.get_by_text("The report as one page").get_attribute("href")
    assert link
    page.goto(link)
    expect(page.get_by_role("heading", name="Optical recognition of handwritten digits")).to_be_visible()
    browser.keep("report-from-the-bucket")


def test_the_pictures_of_the_readme(browser: Browser, stack: RunningStack) -> None:
    """`SCREENSHOTS=docs/images … -k readme` takes them anew."""
    run = stack.wait(stack.run("train-all/digits"))
    page = browser.open(f"runs/flow-run/{run['id']}", shows="train all on digits")
    page.wait_for_timeout(2000)  # the graph is drawn on a canvas
    page.screenshot(path=browser.pictures / "run.png", clip={"x": 256, "y": 0, "width": WIDTH - 256, "height": 504})
    page = browser.open(artifact(stack, "report-file-digits", run["id"]), shows="The report as one page")
    page.goto(page.get_by_text("The report as one page").get_attribute("href") or "")
    table = page.locator("table").first.bounding_box()
    assert table
    bottom = table["y"] + table["height"] + 16
    page.screenshot(
        path=browser.pictures / "leaderboard.png",
        clip={"x": 0, "y": 0, "width": WIDTH, "height": bottom},
        full_page=True,
    )


def test_parameters_are_a_form_with_choices_and_descriptions(
    browser: Browser, stack: RunningStack, trained: Run
) -> None:
    page = browser.open(f"deployments/deployment/{trained['deployment_id']}/run", shows="Train for at most N epochs")
    expect(page.get_by_text("Train for at most N epochs in each phase of a recipe.")).to_be_visible()
    browser.keep("form")
    page.get_by_role("button", name="digits", exact=True).focus()
    page.keyboard.press("ArrowDown")
    for dataset in ("cifar100", "fashion-mnist"):
        expect(page.get_by_text(dataset, exact=True).first).to_be_visible()
    browser.keep("form-choices")
