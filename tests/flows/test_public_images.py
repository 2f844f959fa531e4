"""Images of one's own that are real: emoji in unequal groups, and flags of 256 countries in three sizes each."""

import re
from pathlib import Path

import pytest

from tests.public_images import NoPackage, fetch

from .conftest import Commands

pytestmark = [pytest.mark.real_data, pytest.mark.usefixtures("clean_environment")]


@pytest.mark.parametrize(
    ("name", "images", "classes", "reached"), [("emoji", "3,781", 9, 0.85), ("flags", "768", 256, 0.9)]
)
def test_one_command_makes_a_good_model_of_them(
    name: str, images: str, classes: int, reached: float, commands: Commands, real_mirror: str, tmp_path: Path
) -> None:
    try:
        folder = fetch(name, tmp_path)
    except NoPackage as error:
        pytest.skip(str(error))
    places = {"STORE_URI": str(tmp_path / "store"), "MIRROR_URL": real_mirror}
    done = commands.run("flows.train", "--from", str(folder), "--name", name, **places)
    assert done.returncode == 0, done.stderr
    assert f"{name}: class folders: {classes} classes, {images} files" in done.stdout
    assert "mobilenet-frozen is chosen for photos of 48 px or more" in done.stderr
    row = next(line for line in done.stdout.splitlines() if re.match(r" +1 +mobilenet-frozen ", line))
    assert float(row.split()[2]) > reached
    report = done.stdout.splitlines()[-1].removeprefix(f"Report: file://{tmp_path}/store/").rpartition("/")[0]
    assert commands.run("flows", "verify", report, **places).returncode == 0
