"""Images that anybody can have, as folders of classes: `python -m tests.public_images FOLDER`. Needs npm.

Twitter's emoji, 64 px, in 9 groups of very unequal size; flags of countries, each a class, in three sizes. Both are MIT
or CC BY 4.0, fetched as packages, and never committed.
"""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

PACKAGES = {"emoji": "emoji-datasource-twitter@16.0.0", "flags": "svg-country-flags@1.2.10"}
SIZES = ("png100px", "png250px", "png1000px")


class NoPackage(Exception):
    """npm is not here, or does not reach its registry."""


def fetch(name: str, folder: Path) -> Path:
    """`folder`/`name`, with a folder for each class."""
    unpacked = folder / "package"
    try:
        packed = subprocess.run(
            ["npm", "pack", "--silent", PACKAGES[name]],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPackage(f"npm pack {PACKAGES[name]}: {error}") from error
    with tarfile.open(folder / packed.stdout.split()[-1]) as archive:
        archive.extractall(folder, filter="data")
    {"emoji": _emoji, "flags": _flags}[name](unpacked, folder / name)
    shutil.rmtree(unpacked)
    return folder / name


def _emoji(package: Path, to: Path) -> None:
    for emoji in json.loads((package / "emoji.json").read_text()):
        if emoji["category"] != "Component":
            for each in (emoji, *emoji.get("skin_variations", {}).values()):
                if each["has_img_twitter"]:
                    _copy(package / "img" / "twitter" / "64" / each["image"], to / emoji["category"] / each["image"])


def _flags(package: Path, to: Path) -> None:
    for size in SIZES:
        for path in (package / size).iterdir():
            _copy(path, to / path.stem / f"{size}.png")


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


if __name__ == "__main__":
    for each in PACKAGES:
        place = fetch(each, Path(sys.argv[1]))
        print(f"{place}: {len(list(place.iterdir()))} classes")
