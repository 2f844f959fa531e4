"""Who made an output."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.lineage import provenance
from lib.lineage.provenance import Code, code, environment


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "sub").mkdir()
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


@pytest.fixture(autouse=True)
def known_anew() -> None:
    code.cache_clear()


def test_where_there_is_no_git_the_commit_is_the_images_own_and_nothing_is_said_of_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("IMAGE_COMMIT", "d061ce9")
    found = environment.__wrapped__()
    assert (found["commit"], found["uncommitted_changes"]) == ("d061ce9", None)


def test_a_checkout_is_known_by_its_commit_and_whether_it_was_changed(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert code(checkout) == Code(commit, False)
    code.cache_clear()
    (checkout / "file").write_text("2")
    assert code(checkout) == Code(commit, True)


def test_what_git_sets_for_its_hooks_names_no_other_repository(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, "/no/such")
    assert code(checkout) == Code(commit, False)


def owned_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # of git's own tests


ELSEWHERE: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None], str]] = {
    "no git": ("", lambda patch: patch.setenv("PATH", ""), "No such file or directory: 'git'; set IMAGE_COMMIT"),
    "a folder of another repository": ("sub", lambda patch: None, "it is not the root of a git repository"),
    "another user's": ("", owned_by_another, "another user owns it; git config --global --add safe.directory "),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_git_does_not_tell_is_not_known(name: str, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, change, problem = ELSEWHERE[name]
    change(monkeypatch)
    found = provenance.code(checkout / folder)
    assert found[:2] == (None, None)
    assert problem in found.problem
    assert "\n" not in found.problem


def test_of_code_without_a_repository_nothing_is_known(tmp_path: Path) -> None:
    found = code(tmp_path)  # as `git archive` leaves it
    assert (found.commit, found.uncommitted_changes) == (None, None)
    assert "not a git repository" in str(found.problem)
    assert "\n" not in str(found.problem)
