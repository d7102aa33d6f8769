"""Tables are read as they are meant, or refused with the option that decides; nothing is lost."""

import random

import numpy as np
import pytest

from isinglass.data.columns import Columns
from isinglass.data.csv import Reading
from isinglass.data.table import Table, read_table
from isinglass.errors import DomainError, FileError, IsinglassError, ParameterError, ShapeError
from tests.seeds import shifted

WHOLE = [[1.5, np.nan], [-2.0, 3e4]]


def read(tmp_path, content, encoding="utf-8", **more):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    told = {name: more.pop(name) for name in list(more) if name in Reading.__dataclass_fields__}
    return read_table(path, Reading(**told), **more)


@pytest.mark.parametrize(
    "text",
    [
        "1.5,\n-2,3e4\n",
        "size,mass\n1.5,NA\n-2,30000\n",
        "size;mass\n1,5;?\n-2,0;3e4\n",
        "1.5\tnan\n\n -2 \t3E4\n",
        "size|mass\n1.5|\n-2|30000\n",
        "sep=;\nsize;mass\n1,5;\n-2;30000\n",
        "Report, of May\n\nsize;mass\n1,5;\n-2;30000\n",
        'size;mass\n1,5;\n-2;"30.000,0"\n',
        '\ufeff"1.5",""\n"-2","30000"\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_numbers_are_read_as_they_are_written_anywhere(tmp_path, text, encoding):
    table = read(tmp_path, text.replace("\ufeff", "") if encoding == "cp1252" else text, encoding)
    np.testing.assert_array_equal(np.column_stack(list(table.columns.values())), WHOLE)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            "country,kind,2019,2020,2021\nDE,x,5.1,6,7\nFR,y,1,2,3.3\n",
            "country kind 2019 2020 2021",
        ),
        ("name,age,2019\nx,5,1.2\ny,6,3.4\n", "name age 2019"),
        (",0,1,2\n0,5.5,2,3\n1,4,5,6\n", "column 1 0 1 2"),
        ("when,size\n2020-01-01,1\n2020-01-02,3\n", "when size"),
        ("a,b\nn.d.,1\n2,3\n4,5\n", "a b"),
        ("color,size\n" + "red,small\nblue,large\n" * 5, "color size"),
        ("red,small\nblue,large\nred,large\n", None),
        ("DE,1990,1991\nFR,1993,1999\n", None),
        ("1,2,3\n4,5,6\n", None),
        ("1,2,n.d.\n3,4,5\n6,7,8\n", None),
    ],
)
def test_a_line_of_names_is_told_from_cells(tmp_path, text, names):
    table = read(tmp_path, text)
    assert (None if table.header is None else " ".join(table.texts.columns)) == names
    assert ("no line of names" in table.decided) == (names is None)


@pytest.mark.parametrize(
    ("text", "found", "told"),
    [
        ("2019,2020,2021\n5,6,7\n", "--header or --no-header", {"header": True}),
        ("0,1,2\n5.5,6,7\n", "--header or --no-header", {"header": True}),
        ("country,2019\nDE,5.1\nFR,3\n", "--header or --no-header", {"header": True}),
        ("name,city\nAnna,Rome\nBob,Oslo\n", "--header or --no-header", {"header": False}),
        ('a,b\n"1,234",1\n', "--decimal ',' or --thousands ','", {"thousands": ","}),
        ("a;b\n1.234;1\n", "--decimal '.' or --thousands '.'", {"decimal": "."}),
        ("a,b|c\nd,e|f\na,b|c\n", "--sep ',' or --sep '|'", {"sep": "|"}),
        ("x\n1,5\n2,5\n3,5\n", "say what --sep is", {"sep": ";"}),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_what_decides(tmp_path, text, found, told):
    with pytest.raises((DomainError, ShapeError)) as refused:
        read(tmp_path, text)
    assert found in str(refused.value)
    read(tmp_path, text, **told)


@pytest.mark.parametrize(
    ("text", "numbers", "told", "spelled"),
    [
        ("a;b\n203.923,94;1\n1.000,5;2\n", [203923.94, 1000.5], {}, "1.234.567,50"),
        ('a,b\n"1,234",1.5\n"2,345",2\n', [1234, 2345], {}, "1,234,568"),  # the point stands in b
        ("a;b\n1.234;1,5\n2.345;2\n", [1234, 2345], {}, "1.234.568"),
        ("a,b\n1.234,1\n2.345,2\n", [1.234, 2.345], {}, "1234567.500"),
        ("a;b\n0,123;1\n2,345;2\n", [0.123, 2.345], {}, "1234567,500"),
        (
            "a;b\n1 234;1\n2 345,5;2\n",
            [1234, 2345.5],
            {"thousands": " ", "decimal": ","},
            "1 234 567,5",
        ),
        ("a;b\n1'234.5;1\n2;2\n", [1234.5, 2], {"thousands": "'"}, "1'234'567.5"),
    ],
)
def test_marks_of_numbers_are_decided_and_written_back(tmp_path, text, numbers, told, spelled):
    table = read(tmp_path, text, **told)
    np.testing.assert_array_equal(table.columns["a"], numbers)
    columns = Columns.of(["a", "b"], list(table.columns.values()))
    fresh = table.fresh(columns, [np.array([1234567.5]), np.array([1.0])])
    assert fresh["a"].tolist() == [spelled]


def test_words_that_look_like_numbers_stay_words(tmp_path):
    table = read(tmp_path, "id,zip,v\n10_1,01234,1\n10_2,56789,2\n10_1,01234,3\n")
    assert table.columns["id"].tolist() == ["10_1", "10_2", "10_1"]
    assert table.columns["zip"].tolist() == ["01234", "56789", "01234"]


def test_what_stands_for_unknown_is_said_and_can_be_switched_off(tmp_path):
    codes = "code,v\nDE,1\nNA,2\nFR,3\nNA,\n"
    table = read(tmp_path, codes)
    assert table.columns["code"].tolist() == ["DE", "NA", "FR", "NA"]
    assert any("'NA' 2× is a code of two letters" in note for note in table.notes)
    assert read(tmp_path, codes, na=("NA",)).columns["code"].tolist() == ["DE", None, "FR", None]
    words = "w,v\nfoo,1\nNA,?\nbar,3\nNULL,4\n"
    table = read(tmp_path, words)
    assert table.columns["w"].tolist() == ["foo", None, "bar", None]
    assert table.words == {"w": {"NA": 1, "NULL": 1}, "v": {"?": 1}}
    assert (
        "Taken as unknown: w 'NA' 1×, w 'NULL' 1×, v '?' 1×; --no-na keeps such words"
        in table.notes
    )
    kept = read(tmp_path, words, words=False)
    assert kept.columns["w"].tolist() == ["foo", "NA", "bar", "NULL"]
    assert kept.columns["v"].tolist() == ["1", "?", "3", "4"]


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,x\n,y\n".encode("utf-8-sig"),
        b"sep=;\na;b\n1;x\n;y\n",
        "Obst\n\na;b\n1,5;grün\n;rot\n".encode("cp1252"),
        "a\tb\n1\tgrün\n\trot\n".encode("utf-16"),
        b'a,b\r\n1,"x, ""y"""\r\n,"two\nlines"\r\n',
    ],
)
def test_a_table_is_written_back_to_the_byte(tmp_path, content):
    table = read(tmp_path, content)
    table.write(tmp_path / "again.csv", table.texts)
    assert (tmp_path / "again.csv").read_bytes() == content


def test_a_word_that_the_encoding_lacks_is_still_written(tmp_path):
    table = read(tmp_path, "a;b\ngrün;1\nrot;2\n", "cp1252")
    table.write(tmp_path / "again.csv", table.texts.replace("rot", "β"))
    assert read_table(tmp_path / "again.csv").columns["a"].tolist() == ["grün", "β"]


@pytest.mark.parametrize(
    ("content", "error", "found"),
    [
        ("", ShapeError, "no rows"),
        ("\n\n", ShapeError, "no rows"),
        ("a,b\n", ShapeError, "no rows"),
        ("a,b\n1,2\n3\n", ShapeError, "line 3 has 1 cell, most lines have 2"),
        ("a,b\n1,2\n3,4,5\n", ShapeError, "line 3 has 3 cells, most lines have 2"),
        ("a,a\n1,2\n", ShapeError, "two columns named 'a'"),
        ('1,2\n"3,4\n', FileError, "a quote in line 2 is not closed"),
        (b"a,b\n1,\x00\n", FileError, "a NUL byte in line 2"),
        (b"a,b\n\x81\x8d,2\n", FileError, "Say what it is with --encoding"),
        ("a,b\n1,inf\n", DomainError, "an infinite number in column 'b', line 2"),
    ],
)
def test_what_is_no_table_is_refused_by_its_line(tmp_path, content, error, found):
    with pytest.raises(error, match=found):
        read(tmp_path, content)


def test_options_that_say_nothing_are_refused(tmp_path):
    for told in ({"sep": ";;"}, {"sep": "a"}, {"decimal": "x"}, {"decimal": ",", "thousands": ","}):
        with pytest.raises(ParameterError):
            Reading(**told)
    (tmp_path / "table.csv").write_text("a\n1\n")
    with pytest.raises(ParameterError, match="Name one that Python knows"):
        read_table(tmp_path / "table.csv", Reading(encoding="klingon"))


CELLS = ["", "1", "2.5", "2,5", "1.234,5", "1,234", "NA", "x", '"', '"a', 'b"', "é", "true", "β",
         "01", "1e9", "inf", "nan", "2020", "2020-01-02",
         " ", "'", "\0", "\r", "#", "-", "\\"]  # fmt: skip


@pytest.mark.parametrize("seed", range(300))
def test_malformed_tables_are_read_whole_or_refused_by_name(tmp_path, seed):
    """Whatever is there: a named error, or every line as a row and every known cell as written."""
    draw = random.Random(shifted(seed))
    sep, width = draw.choice(",;\t|"), draw.randint(1, 5)
    pool = draw.sample(CELLS, draw.randint(1, 6))
    rows = [
        sep.join(draw.choice(pool) for _ in range(width + (draw.random() < 0.03)))
        for _ in range(draw.randint(0, 12))
    ]
    if draw.random() < 0.5:
        rows.insert(0, sep.join(draw.sample("abcdefgh", width)))
    content = draw.choice(["\n", "\r\n"]).join(rows).encode(draw.choice(["utf-8", "utf-16"]))
    if draw.random() < 0.2:  # damage
        place = draw.randrange(len(content) + 1)
        content = content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :]
    try:
        table = read(tmp_path, content)
    except IsinglassError:
        return
    assert isinstance(table, Table)
    assert {len(cells) for cells in table.columns.values()} == {len(table.texts)}
    if not table.texts.map(str.strip).any(axis=None):
        return  # nothing but blanks, of which no form is left to find again
    if table.header and len(table.header) > 2 and sum(map(bool, table.header)) == 1:
        return  # one name above several columns: told that names are there, it is taken for a title
    table.write(tmp_path / "again.csv", table.texts)
    told = {"header": table.header is not None, "sep": table.text.sep}
    again = read_table(tmp_path / "again.csv", Reading(**told, encoding=table.text.encoding))
    assert again.texts.equals(table.texts)
