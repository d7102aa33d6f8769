"""The tour's page is whole by itself, and its figures are what was measured."""

import json
import re
from html import escape
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from isinglass.cli import run
from isinglass.cli.tour.chapter import Chapter, Fact
from isinglass.cli.tour.guide import VERBS, take_tour
from isinglass.cli.tour.page import DOCUMENTATION, GO_ON, build_page
from isinglass.errors import FileError, ParameterError


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.images = 0

    def handle_starttag(self, tag, attrs) -> None:
        self.images += tag == "img"
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    page = tmp_path_factory.mktemp("tour") / "page.html"
    tour = take_tour(page, ["remember", "attend"], console=Console(quiet=True))
    return page, tour.chapters


def test_page_is_self_contained(walked):
    page, chapters = walked
    links = Links()
    links.feed(page.read_text())
    assert links.images == sum(len(chapter.pictures) for chapter in chapters) == 4
    for source in links.sources:
        assert source.startswith(("data:image/png;base64,", "#", DOCUMENTATION))
    assert not re.search(r"@import|url\(", page.read_text())


def test_attention_converges_as_the_theory_says(walked):
    _, (_, attend) = walked
    for fact in attend.facts:
        measured, theory = float(fact.own), float(fact.beside.removeprefix("theory "))
        # 4,000 draws of 64 pixels: the root mean square is known to about 1 %.
        assert measured == pytest.approx(theory, rel=0.05)


def test_modern_memory_recalls_ten_digits(walked):
    _, (remember, _) = walked
    assert remember.facts[0].own == "modern 100%"


def test_what_is_said_of_misses_is_what_is_plotted(walked):
    _, (remember, _) = walked
    recalled = float(remember.facts[-1].own.removeprefix("modern ").rstrip("%"))
    said = re.search(r"takes (\d+) for another .* fills (\d+) with a blend", remember.notes[0])
    assert said is not None
    confused, missed = map(int, said.groups())
    assert confused == 0
    assert missed / 10 == pytest.approx(100 - recalled, abs=0.5)


def test_thinking_answers_what_it_could_not_and_solves_puzzles(tmp_path):
    page = tmp_path / "page.html"
    (think,) = take_tour(page, ["think"], console=Console(quiet=True)).chapters
    question, rules, others, hard = think.facts
    assert (question.own, question.beside) == ("sure, Ada, energy 0.0", "before: unsure")
    assert rules.own == rules.beside.removeprefix("the rule book ")
    right, several, wrong = map(int, others.own.split(", "))
    assert right >= int(others.beside.rsplit(" ", 1)[1]) > 0
    assert (right + several, wrong) == (50, 0)
    guesses, retractions = map(int, hard.own.split(", "))
    plain = int(re.findall(r"\d+", hard.beside)[0])
    assert 0 < guesses == retractions < plain  # the search for a second solution retracts all
    assert page.read_text().count("<img") == 2


def test_a_chapter_named_twice_is_walked_once(tmp_path):
    again = take_tour(tmp_path / "page.html", ["attend", "attend"], console=Console(quiet=True))
    assert [chapter.verb for chapter in again.chapters] == ["attend"]


def test_fractions_stay_on_one_line(walked):
    page, _ = walked
    assert '<span class="formula">1/√m</span>' in page.read_text()


def test_all_verbs_and_thinking_have_a_chapter(tmp_path):
    assert VERBS == ("remember", "attend", "imagine", "act", "think")
    with pytest.raises(ParameterError, match="no chapter 'sing'"):
        take_tour(tmp_path / "page.html", ["sing"], console=Console(quiet=True))
    assert not list(tmp_path.iterdir())


def test_text_is_escaped():
    chapter = Chapter("act", "a < b", "x & y", facts=[Fact("<script>", "1", "2")])
    page = build_page([chapter], 0, "here")
    assert "a &lt; b" in page
    assert "<script>" not in page


def test_existing_page_is_kept_and_found_before_the_work(walked, capsys):
    page, _ = walked
    before = page.read_bytes()
    with pytest.raises(FileError, match="exists already"):
        take_tour(page, ["attend"], console=Console(quiet=True))
    assert run(["tour", "attend", "--out", str(page)]) == 1
    assert page.read_bytes() == before


def test_default_name_is_the_next_free_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["tour", "attend"]) == 0
    assert run(["tour", "attend"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "isinglass-tour-2.html", "isinglass-tour.html",
    ]  # fmt: skip
    assert "softmax attention" in capsys.readouterr().out


def test_time_is_estimated_before_and_told_after(tmp_path):
    console = Console(file=StringIO(), width=80)
    tour = take_tour(tmp_path / "page.html", ["attend"], console=console)
    assert isinstance(console.file, StringIO)
    printed = console.file.getvalue()
    before, after = printed.index("This takes about "), printed.index("It took ")
    assert before < printed.index("softmax attention") < after
    assert tour.seconds >= tour.chapters[0].seconds > 0
    # Load comes and goes between the probe and the chapter: the order of magnitude is promised.
    assert tour.seconds / 10 < tour.estimate < tour.seconds * 10


def test_json_has_the_facts_and_quiet_prints_nothing(tmp_path, capsys):
    page = tmp_path / "page.html"
    assert run(["tour", "attend", "--out", str(page), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (chapter,) = found["chapters"]
    assert (found["page"], found["seed"], chapter["verb"]) == (str(page), 0, "attend")
    fact = chapter["facts"][0]
    assert f'<td class="own">{fact["isinglass"]}</td><td>{fact["beside"]}</td>' in page.read_text()
    assert run(["tour", "attend", "--out", str(page), "--force", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_the_code_to_go_on_with_runs(verb, capsys):
    code, _, page = GO_ON[verb]
    exec(compile(code, verb, "exec"), {})  # noqa: S102
    assert capsys.readouterr().out
    root = Path(__file__).parents[3]
    assert (root / "docs" / f"{page.rstrip('/')}.md").exists()


def test_pictures_say_what_is_seen_and_wide_tables_scroll(walked):
    page, chapters = walked
    text = page.read_text()
    for chapter in chapters:
        for picture in chapter.pictures:
            assert picture.alt
            assert picture.alt != picture.caption
            assert f'alt="{escape(picture.alt)}"' in text
    assert text.count("<table>") == text.count('<div class="wide" role="region"')
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
