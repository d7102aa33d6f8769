"""The project's files agree: version, addresses, Python versions, pins, links."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mkdocs.utils import yaml_load
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def settings(path: str) -> dict[str, Any]:
    with (ROOT / path).open("rb") as file:
        return yaml_load(file)


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in settings(str(path.relative_to(ROOT)))["jobs"].items():
            yield f"{path.stem}/{name}", job


def test_the_citation_is_of_this_version():
    citation = settings("CITATION.cff")
    assert citation["title"] == PROJECT["name"]
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]
    assert citation["url"] == PROJECT["urls"]["Documentation"]
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in PROJECT["authors"]
    ]


def test_addresses_agree():
    urls = PROJECT["urls"]
    site = settings("mkdocs.yml")
    assert site["repo_url"] == urls["Repository"]
    assert site["site_url"] == urls["Documentation"]
    files = [*ROOT.glob("*.md"), *ROOT.glob("*.cff"), *ROOT.glob("*.toml"), *ROOT.glob("*.yml")]
    files += [path for folder in (".github", "docs") for path in (ROOT / folder).rglob("*.[my]*")]
    wrong = [
        f"{path.relative_to(ROOT)}: {found}"
        for path in files
        for found in re.findall(
            r"https://(?:raw\.)?github(?:usercontent)?\.com/[\w-]+/isinglass\b"
            r"|https://isinglass\.[\w.-]+",
            path.read_text(),
        )
        if found.replace("raw.githubusercontent", "github") != urls["Repository"]
        and found != urls["Documentation"].rstrip("/")
    ]
    assert not wrong


def test_the_python_versions_claimed_are_tested():
    claimed = [
        last
        for kind in PROJECT["classifiers"]
        if re.fullmatch(r"3\.\d+", last := kind.rpartition(" :: ")[2])
    ]
    tests = settings(".github/workflows/tests.yml")["jobs"]
    assert tests["tests"]["strategy"]["matrix"]["python"] == claimed
    supported = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(15) if f"3.{minor}" in supported] == claimed
    (lowest,) = [
        step["with"]["python-version"]
        for step in tests["lowest"]["steps"]
        if "setup-python" in step.get("uses", "")
    ]
    assert lowest == claimed[0]
    assert f"Python {claimed[0]} to {claimed[-1]}" in (ROOT / "constraints.txt").read_text()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_may_do_little(path):
    used = re.findall(r"uses: (.*)", path.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w/.-]+@[0-9a-f]{40} # v[\d.]+", action), action
    workflow = settings(str(path.relative_to(ROOT)))
    assert workflow["permissions"] == {}
    assert "concurrency" in workflow
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job


def test_only_the_publisher_may_write():
    writers = {
        name: job
        for name, job in jobs()
        if "write" in job["permissions"].values() or "environment" in job
    }
    assert set(writers) == {"release/publish"}
    (publisher,) = writers.values()
    assert publisher["permissions"] == {"id-token": "write"}
    assert publisher["environment"]["url"].endswith(f"/{PROJECT['name']}/")


def test_every_requirement_has_a_pin_within_its_bounds():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, _, version = line.partition("==")
            pins[canonicalize_name(name)] = version
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]:
        need = Requirement(text)
        if need.name != PROJECT["name"]:
            assert pins[canonicalize_name(need.name)] in need.specifier, text


def test_slow_tests_are_left_to_ci():
    assert "-m=not slow" in PYPROJECT["tool"]["pytest"]["ini_options"]["addopts"]
    assert re.search(r"pytest -q -m slow\b", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_links_of_the_readme_lead_somewhere_wherever_it_is_shown():
    text = (ROOT / "README.md").read_text()
    relative = r"((?!https?:|#)[\w/.-]+)"
    link = re.compile(rf"\]\({relative}[^)\s]*\)|\b(?:href|src|srcset)=\"{relative}")
    targets = [one or other for one, other in link.findall(text)]
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target
    hook = PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    for rule in hook["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    assert not link.findall(text)


def test_mutation_finds_its_rooms_and_tests():
    mutmut = PYPROJECT["tool"]["mutmut"]
    for pattern in mutmut["only_mutate"]:
        assert list(ROOT.glob(pattern)), pattern
    for path in [*mutmut["pytest_add_cli_args_test_selection"], *mutmut["also_copy"]]:
        assert (ROOT / path).exists(), path
