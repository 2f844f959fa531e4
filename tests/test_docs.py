"""The generated pages say what the code has."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generate import FOLDER, PAGES
from docs.reference import COMMANDS

REPOSITORY = FOLDER.parent
ELSEWHERE = """
import json, sys
from docs.generate import PAGES
pages = {name: page() for name, page in PAGES.items()}
json.dump([pages, [name for name in ("tensorflow", "keras") if name in sys.modules]], sys.stdout)
"""


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), "run: make docs"


@pytest.mark.slow
def test_pages_do_not_depend_on_the_machine_and_need_no_tensorflow(tmp_path: Path) -> None:
    elsewhere = {
        "HOME": str(tmp_path),
        "COLUMNS": "40",
        "STORE_URI": "s3://bucket/prefix",
        "CACHE_DIR": str(tmp_path),
        "ALLOW_CPU": "1",
        "AWS_MAX_ATTEMPTS": "2",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
    }
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        cwd=REPOSITORY,
        env={**os.environ, **elsewhere},
        capture_output=True,
        text=True,
        check=True,
    )
    pages, loaded = json.loads(done.stdout)
    assert pages == {name: (FOLDER / name).read_text() for name in PAGES}, "run: make docs"
    assert loaded == []


def test_every_command_that_has_options_is_on_its_page() -> None:
    files = [
        file for folder in ("deployments", "flows", "lib", "tests") for file in (REPOSITORY / folder).rglob("*.py")
    ]
    parts = ("\nif __name__ ==", "ArgumentParser")
    commands = [file for file in files if all(part in file.read_text() for part in parts)]
    assert {".".join(file.relative_to(REPOSITORY).with_suffix("").parts) for file in commands} == set(COMMANDS)


@pytest.mark.parametrize(
    "name",
    ["docs.generate", "tests.benchmarks", "tests.benchmarks.no_op", "tests.benchmarks.orchestration",
     "tests.benchmarks.reading", "tests.faults", "tests.pinned_stores"],
)  # fmt: skip
def test_a_command_that_is_asked_for_help_explains_itself_and_does_nothing_else(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    for module in (name, f"{name}.__main__"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m {name} [-h]")
