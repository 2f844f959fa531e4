"""Writes Pillow's own test images to a folder: `python -m tests.lib.images.fetch_pillow VERSION FOLDER`.

By pip's own finder, so that pip's settings hold. `pip download` itself would run Pillow's build for its metadata.
"""

import io
import sys
import tarfile
from pathlib import Path

from pip._internal.commands import create_command
from pip._vendor.packaging.specifiers import SpecifierSet

WITHIN = "Tests/images/"


def source_distribution(version: str) -> bytes:
    """Of Pillow, from the index that pip is set to, checked against the digest that the index names, if any."""
    command = create_command("download")
    options, _ = command.parse_args(["--no-deps", "--no-binary", "pillow", "--quiet"])
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options, session)
        best = finder.find_best_candidate("pillow", SpecifierSet(f"=={version}")).best_candidate
        if best is None:
            sys.exit(f"no source distribution of Pillow {version}")
        answer = session.get(best.link.url_without_fragment)
        answer.raise_for_status()
        if hashes := best.link.as_hashes():
            hashes.check_against_chunks(iter([answer.content]))
        return bytes(answer.content)


def main() -> None:
    version, folder = sys.argv[1], Path(sys.argv[2])
    with tarfile.open(fileobj=io.BytesIO(source_distribution(version))) as archive:
        for member in archive:
            _, found, path = member.name.partition(WITHIN)
            if found and member.isfile() and ".." not in path.split("/"):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                content = archive.extractfile(member)
                assert content
                (folder / path).write_bytes(content.read())


if __name__ == "__main__":
    main()
