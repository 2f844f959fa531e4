"""The README does what it says, and is short."""

import re
import shlex
from pathlib import Path

import pytest

from .conftest import REPOSITORY, Commands

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
README = PAGES[0].read_text()
BLOCKS = re.findall(r"^```([^\n]*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
QUICK = [line for kind, text in BLOCKS if kind == "sh quick" for line in text.splitlines()]
SNIPPETS = [text for kind, text in BLOCKS if kind == "python"]
"""`test_train.py` runs them, where our code cannot be imported."""


def test_it_is_read_in_five_minutes() -> None:
    assert len(README.split()) <= 1_200


@pytest.mark.parametrize("line", QUICK)
def test_each_quick_command_runs_as_printed(line: str, commands: Commands, tmp_path: Path) -> None:
    python, *arguments = shlex.split(line, comments=True)
    assert (python, arguments[0]) == (".venv/bin/python", "-m")
    done = commands.run(*arguments[1:], STORE_URI=str(tmp_path / "store"))
    assert (done.returncode, done.stderr.removeprefix(f"Store: {tmp_path / 'store'}\n")) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_is_printed_with_the_python_that_has_our_packages(page: Path) -> None:
    # A command's line begins with blanks, as code does, or stands in a fenced block.
    printed = re.findall(r"^(?: {4})?(?:[A-Z_]+=\S+ )*(python\d* -m .*)$", page.read_text(), re.MULTILINE)
    assert printed == [], "it begins with .venv/bin/python"


def test_each_module_stands_in_the_tree() -> None:
    tree = (REPOSITORY / "docs" / "architecture.md").read_text()
    modules = [file for each in ("lib", "tasks", "flows", "deployments") for file in (REPOSITORY / each).rglob("*.py")]
    assert [file.name for file in modules if not file.name.startswith("__") and file.name not in tree] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name} links to {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
