"""deployments/prefect.yaml must be YAML that says one thing, of a size that can be read."""

from pathlib import Path

import pytest

from deployments.configuration import FILE, read_configuration
from lib.errors import PermanentError


@pytest.mark.parametrize(
    "text",
    [
        "deployments: [", "- 1", "", "description: 2026-02-30", 'name: !!int "abc"', 'name: !!bool "abc"',
        'name: !!timestamp "abc"', "[" * 5000, f"name: 0x{'f' * 5000}", f"name: {'1:' * 5000}1.5",
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(text)
    with pytest.raises(PermanentError, match=r"prefect\.yaml"):
        read_configuration(file)


DOUBLED = "\n".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))
LONG = f"a: &a {'x' * 9_000}\ndeployments: [{'*a, ' * 20}]"
IN_ITSELF = "an alias must stand outside its anchor"
TOO_MANY = "with aliases written out it must have at most 100,000 characters"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"a0: &a0 x\n{DOUBLED}\ndeployments: *a59", TOO_MANY),
        (f"a0: &a0 {{x: y}}\n{DOUBLED}\ndeployments: [<<: *a59]", TOO_MANY),
        (LONG, TOO_MANY),
        ("deployments: &a [*a]", IN_ITSELF),
        (f"a0: &a0 [*a0, x]\n{DOUBLED}\ndeployments: *a59", IN_ITSELF),
        ("deployments: &a {x: [*a]}", IN_ITSELF),
    ],
)
def test_aliases_that_stand_for_too_much_are_refused(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(text)
    with pytest.raises(PermanentError, match=rf"prefect\.yaml must be readable YAML: {says}"):
        read_configuration(file)


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(FILE.read_text() + "\nname: other\n")
    last = len(file.read_text().splitlines())
    with pytest.raises(PermanentError, match=rf"must be readable YAML: a second name in .* line {last}, column 1"):
        read_configuration(file)
