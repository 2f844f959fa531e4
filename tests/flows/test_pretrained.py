"""What pretrained weights are worth, on the real CIFAR-100 with the real ImageNet weights of MobileNet."""

from pathlib import Path

import pytest

from lib.lineage.manifests import MANIFEST, Manifest

from .conftest import Commands

pytestmark = [pytest.mark.real_data, pytest.mark.slow, pytest.mark.usefixtures("clean_environment")]


def test_real_imagenet_weights_are_worth_more_than_a_random_start(
    commands: Commands, real_mirror: str, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    small = ("--set", "backbone.image_px=32")  # validation and test stay whole: at 128 px their features take minutes
    asked = ("--dataset", "cifar100", "--models", "mobilenet-frozen", "--limit", "2000", *small)
    done = commands.run(
        "flows.train", *asked, "--weights", "imagenet", "none", "--store", str(store),
        MIRROR_URL=real_mirror, timeout_s=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = store.glob(f"reports/*/*/{MANIFEST}")
    rows = Manifest.from_json(path.read_bytes()).facts["leaderboard"]
    assert [row["model"] for row in rows] == [
        "mobilenet-frozen, weights imagenet", "mobilenet-frozen, weights none",
    ]  # fmt: skip
    assert rows[0]["validation_accuracy"] > 0.2
    assert rows[1]["validation_accuracy"] < 0.05
