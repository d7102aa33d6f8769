"""The site as a reader meets it: few entries in view, found by the words people use, readable."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.utils import yaml_load

from isinglass._support.palette import contrast

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site with its navigation and search, but without what is read from docstrings."""
    folder = tmp_path_factory.mktemp("site")
    with (ROOT / "mkdocs.yml").open("rb") as file:
        (search,) = yaml_load(file)["plugins"][0].values()
    config = load_config(
        str(ROOT / "mkdocs.yml"), site_dir=str(folder), plugins=[{"search": search}]
    )
    config.validation.links.anchors = 0  # those of docstrings are not there
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


def ask(index: dict[str, Any], query: str) -> list[str]:
    """Pages that hold every word of a question: by tag, then by title, then by text, as lunr."""
    separator = re.compile(index["config"]["separator"])

    def words(text: str) -> set[str]:
        return {word.lower() for word in separator.split(re.sub("<[^>]+>", " ", text)) if word}

    asked = words(query) - {"in", "a", "the", "of"}
    best: dict[str, float] = {}
    for entry in index["docs"]:
        tags, title = words(" ".join(entry.get("tags", []))), words(entry["title"])
        text = words(entry["text"])
        if asked <= tags | title | text:
            score = sum(1e6 * (word in tags) + 1e3 * (word in title) + 1 for word in asked)
            page = entry["location"].partition("#")[0]
            best[page] = max(best.get(page, 0), score)
    return sorted(best, key=lambda page: -best[page])


ANSWERS = {
    "parallel tempering": "dynamics/",
    "mixture model": "energies/hopfield-boltzmann/",
    "drop-in": "layers/stochastic-attention/",
    "inpainting": "images/",
    "notebook": "tutorials/",
    "k-NN": "scale/",
    "Gaussian mixture": "converters/",
    "Potts": "energies/boltzmann-machine/",
    "energy-based": "concepts/",
    "isinglass.nn.Hopfield": "api/nn/Hopfield/",
    "HopfieldPooling": "api/nn/HopfieldPooling/",
    "ReplicaExchange": "api/dynamics/ReplicaExchange/",
    "missing values": "tables/",
    "Sudoku": "think-puzzles/",
    "BibTeX": "citing/",
}


@pytest.mark.slow
def test_search_knows_the_words_that_people_type(site):
    index = json.loads((site / "search/search_index.json").read_text())
    missed = {
        query: ask(index, query)[:4]
        for query, page in ANSWERS.items()
        if page not in ask(index, query)[:4]
    }
    assert not missed
    assert ask(index, "xylophone quartet") == []


def in_view(entries: list[Any]) -> Iterator[int]:
    """How many entries of the navigation are in view at each page of a tab, its title included."""
    tops = [entry for entry in entries if isinstance(entry, dict)]  # an index is the title
    for top in tops:
        (children,) = top.values()
        if isinstance(children, str):
            yield 1 + len(tops)
        elif len(children) >= 7:
            yield 2 + len(children)  # extra.css shows such a group by itself
        else:
            yield 1 + len(tops) + len(children)


def test_a_dozen_entries_of_the_navigation_are_in_view_at_most():
    with (ROOT / "mkdocs.yml").open("rb") as file:
        tabs = yaml_load(file)["nav"]
    names = [next(iter(tab)) for tab in tabs]
    assert names == ["Start", "Tutorials", "How-to", "Ideas", "Reference", "Project"]
    for tab in tabs:
        assert max(in_view(next(iter(tab.values())))) <= 12


@pytest.mark.slow
def test_every_name_of_the_reference_has_a_page_with_the_line_that_imports_it(site):
    listed = [
        path
        for page in (ROOT / "docs/api").glob("*.md")
        for path in re.findall(r"^::: (isinglass(?:\.\w+){2,})$", page.read_text(), re.MULTILINE)
    ]
    assert len(listed) > 250
    made = {path.parent.name for path in (site / "api").glob("*/*/index.html")}
    for path in listed:
        name = path.rpartition(".")[2]
        assert name in made or f"{name}-function" in made, path
    page = (site / "api/energies/ModernHopfield/index.html").read_text()
    assert "from isinglass.energies import ModernHopfield" in page
    assert "edit/main/src/isinglass/energies/hopfield/modern.py" in page
    table = (site / "api/energies/index.html").read_text()
    assert '<a href="ModernHopfield/"><code>ModernHopfield</code></a>' in table


def code_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of code of a page, numbered."""
    fence = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = "" if fence else line
        elif (fence and fence != "```math") or line.startswith("    "):
            yield number, line


def test_code_of_the_pages_fits_in_79_columns():
    wide = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in PAGES
        for number, line in code_lines(path)
        if len(line) > 79
    ]
    assert not wide


def test_links_and_text_can_be_read_in_both_schemes():
    style = (ROOT / "docs/stylesheets/extra.css").read_text()
    light, dark = style.split('[data-md-color-scheme="slate"]', 1)
    for scheme, grounds in ((light, ("#ffffff", "#f5f5f5")), (dark, ("#1e2129", "#15171c"))):
        told = re.findall(r"--md-(?:typeset-a|accent-fg|code-hl-\w+)-color: (#\w{6});", scheme)
        assert told
        for color, ground in itertools.product(told, grounds):
            assert contrast(color, ground) >= 4.5, (color, ground)
    page = (ROOT / "src/isinglass/cli/tour/style.css").read_text()
    for names in re.findall(r":root \{([^}]*--ground[^}]*)\}", page)[:2]:
        colors = dict(re.findall(r"--(\w+): (#\w{6})", names))
        for name in ("ink", "soft", "own"):
            assert contrast(colors[name], colors["ground"]) >= 4.5, name


def test_every_tutorial_is_in_the_gallery_with_its_picture():
    pages = {path.stem for path in (ROOT / "docs/tutorials").glob("*.md")} - {"index"}
    gallery = (ROOT / "docs/tutorials/index.md").read_text()
    assert len(pages) >= 8
    for page in pages:
        assert f"({page}.md)" in gallery
        assert f"(../pictures/tutorial-{page}.svg)" in gallery
        assert (ROOT / f"docs/pictures/tutorial-{page}.svg").exists()
        assert "## Next" in (ROOT / f"docs/tutorials/{page}.md").read_text()


def test_bars_of_speed_are_those_of_the_tables():
    speed = pytest.importorskip("benchmarks.pictures.speed", reason="the clone alone has it")
    text = (ROOT / "docs/speed.md").read_text()
    parts = speed.PICTURE.findall(text)
    assert len(parts) == text.count("<details markdown>") == 5
    for name, part in parts:
        rows = speed.rows_of(part)
        assert rows
        picture = (ROOT / f"docs/pictures/{name}.svg").read_text()
        assert all(f"<!-- {ratio:.2f} -->" in picture for _, ratio in rows)


@pytest.mark.slow
def test_formulas_are_typeset_without_a_network(site):
    theory = (site / "theory/index.html").read_text()
    assert theory.count("<math ") > 15
    assert "```math" not in theory
    assert "merror" not in theory
