"""Who made an output."""

import pytest

from lib.lineage.provenance import environment


def test_where_there_is_no_git_the_commit_is_the_images_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("IMAGE_COMMIT", "d061ce9")
    assert environment.__wrapped__()["commit"] == "d061ce9"
