"""What the pages list is what the package has: extras, errors, rooms."""

import re
import tomllib
from pathlib import Path

from isinglass import errors
from tests.test_package import FLOOR, ROOMS

ROOT = Path(__file__).parents[1]


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table whose heading begins so."""
    lines = (ROOT / page).read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(heading))
    body = lines[start + 2 :]
    end = next((n for n, line in enumerate(body) if not line.startswith("|")), len(body))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body[:end]]


def test_extras_of_the_first_page_are_those_of_the_project():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for_users = {name: extras[name] for name in re.findall(r"\w+", extras["all"][0])[1:]}
    table = {cells[0].strip("`"): cells[1] for cells in rows("docs/index.md", "| extra |")}
    assert table.keys() == for_users.keys()
    for name, brought in table.items():
        packages = {re.split(r"[><=\[]", package)[0] for package in for_users[name]}
        assert set(brought.split(", ")) <= packages
    readme = (ROOT / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in for_users)


def test_every_error_is_in_the_table_with_the_builtin_it_is():
    table = {
        cells[0].strip("`"): cells[2].strip("`") for cells in rows("docs/concepts.md", "| class |")
    }
    kinds = {
        name: kind for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.IsinglassError)
    }  # fmt: skip
    del kinds["IsinglassError"]
    assert table == {name: kind.__bases__[1].__name__ for name, kind in kinds.items()}


def test_the_structure_page_has_the_floors_that_are_tested():
    table = rows("docs/structure.md", "| floor |")
    assert [int(cells[0]) for cells in table] == list(range(1, len(ROOMS) + 1))
    found = [set(re.findall(r"`(\w+)`", cells[1])) for cells in table]
    assert found == ROOMS
    assert set().union(*found) == set(FLOOR)
