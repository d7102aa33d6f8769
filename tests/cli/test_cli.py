"""The command line: does its work, teaches, and fails in one line."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from isinglass.cli import run
from tests.seeds import numpy_seeded


@pytest.fixture
def gallery(tmp_path):
    rng = numpy_seeded(0)
    for number in range(6):
        pixels = rng.integers(0, 256, (16, 12), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return tmp_path


def complete(gallery, *more: str) -> int:
    out = str(gallery / "out" / "done.png")
    (gallery / "out").mkdir(exist_ok=True)
    return run(["remember", str(gallery), "--cue", str(gallery / "3.png"), "--out", out, *more])


def test_remember_completes_a_hidden_half(gallery, capsys):
    assert complete(gallery, "--hide", "lower") == 0
    printed = capsys.readouterr().out
    assert "familiar" in printed
    assert "done.png" in printed
    with Image.open(gallery / "out" / "done.png") as image:
        done = np.asarray(image).astype(int)
        report = json.loads(image.info["isinglass"])
    with Image.open(gallery / "3.png") as image:
        assert np.abs(done - np.asarray(image)).max() <= 1
    assert report["familiar"] is True
    assert report["known"] == 0.5
    assert report["nearest"].endswith("3.png")
    assert report["share of the nearest"] > 0.9
    assert report["similarity to the nearest"] > 0.999


def test_remember_reads_arrays_and_resizes(gallery, capsys):
    images = numpy_seeded(1).random((5, 16, 16, 3))
    np.save(gallery / "many.npy", images)
    out = gallery / "done.png"
    arguments = ["remember", str(gallery / "many.npy"), "--cue", str(gallery / "many.npy")]
    assert run([*arguments, "--out", str(out)]) == 2
    assert "Choose one with --index" in capsys.readouterr().err
    assert run([*arguments, "--out", str(out), "--index", "9"]) == 2
    assert run([*arguments, "--out", str(out), "--index", "4", "--size", "8"]) == 0
    with Image.open(out) as image:
        assert image.size == (8, 8)
        assert image.mode == "RGB"


def test_nothing_is_overwritten_unasked(gallery, capsys):
    assert complete(gallery) == 0
    before = (gallery / "out" / "done.png").read_bytes()
    assert complete(gallery, "--hide", "lower") == 1
    assert "exists already" in capsys.readouterr().err
    assert (gallery / "out" / "done.png").read_bytes() == before
    assert complete(gallery, "--hide", "lower", "--force") == 0


def test_errors_are_one_line_without_traceback(gallery, capsys):
    (gallery / "3.png").write_bytes((gallery / "3.png").read_bytes()[:60])
    assert complete(gallery) == 1
    error = capsys.readouterr().err
    assert "not a whole image" in error
    assert "Traceback" not in error
    assert run(["remember", str(gallery / "absent"), "--cue", str(gallery / "1.png")]) == 1
    assert "no such file" in capsys.readouterr().err
    assert complete(gallery, "--beta", "-1") == 1
    with pytest.raises(Exception, match="whole image"):
        complete(gallery, "--debug")


def test_wrong_usage_exits_with_two(capsys):
    assert run(["remember"]) == 2
    assert run(["no-such-verb"]) == 2
    assert run(["tour", "sing"]) == 2
    assert run(["tour", "--seed", "999999999999999999999"]) == 2
    assert run(["remember", "a.png", "--cue", "a.png", "--size", "40000"]) == 2


def test_only_a_png_is_written(gallery, capsys):
    for name in ("done.jpg", "done"):
        out = gallery / name
        arguments = ["remember", str(gallery), "--cue", str(gallery / "3.png"), "--out", str(out)]
        assert run(arguments) == 2
        assert f"Name it {gallery / 'done.png'}" in capsys.readouterr().err
        assert not out.exists()


def test_stored_transparency_is_filled(gallery, capsys):
    pixels = np.full((16, 12, 4), 255, np.uint8)
    pixels[:8, :, :3] = 40
    pixels[8:, :, 3] = 0  # hides white
    Image.fromarray(pixels).save(gallery / "3.png")
    assert complete(gallery, "--hide", "lower") == 0
    with Image.open(gallery / "out" / "done.png") as image:
        assert np.abs(np.asarray(image).astype(int) - 40).max() <= 1
    pixels[..., 3] = 0
    Image.fromarray(pixels).save(gallery / "4.png")
    assert complete(gallery, "--force") == 0
    assert "4.png is left out: every pixel is transparent" in capsys.readouterr().out
    clear = str(gallery / "4.png")
    assert run(["remember", clear, "--cue", str(gallery / "3.png"), "--force"]) == 1
    assert "every pixel is transparent" in capsys.readouterr().err


@pytest.fixture
def tables(tmp_path):
    patterns = numpy_seeded(2).normal(size=(30, 12)) * np.geomspace(0.01, 100, 12)
    cues = patterns[:4].copy()
    cues[:, 8:] = np.nan
    np.savetxt(tmp_path / "patterns.csv", patterns, delimiter=",")
    np.save(tmp_path / "patterns.npy", patterns)
    np.savez(tmp_path / "cues.npz", cues)
    lines = [",".join("" if np.isnan(x) else repr(float(x)) for x in row) for row in cues]
    names = ",".join(f"column {number}" for number in range(12))
    (tmp_path / "cues.csv").write_text("\n".join([names, *lines, ""]))
    return tmp_path


@pytest.mark.parametrize("suffix", ["csv", "npy"])
def test_recall_fills_a_table(tables, capsys, suffix):
    cues = "cues.csv" if suffix == "csv" else "cues.npz"
    out = tables / f"whole.{suffix}"
    arguments = ["recall", str(tables / f"patterns.{suffix}"), "--cue", str(tables / cues)]
    assert run([*arguments, "--out", str(out)]) == 0
    assert "4 of 4 are filled from one pattern" in capsys.readouterr().out
    whole = np.loadtxt(out, delimiter=",", skiprows=1) if suffix == "csv" else np.load(out)
    patterns = np.load(tables / "patterns.npy")
    np.testing.assert_array_equal(whole[:, :8], patterns[:4, :8])
    assert np.abs((whole - patterns[:4]) / patterns.std(0)).max() < 0.02
    assert run([*arguments, "--out", str(out)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert run([*arguments, "--out", str(out), "--force", "--beta", "0.001"]) == 0
    assert "0 of 4 are filled from one pattern" in capsys.readouterr().out


def recalled(folder, stored, cue, *more):
    (folder / "stored.csv").write_text(stored, encoding="utf-8")
    (folder / "cue.csv").write_text(cue, encoding="utf-8")
    arguments = ["recall", str(folder / "stored.csv"), "--cue", str(folder / "cue.csv"), "-q"]
    assert run([*arguments, "--force", "--out", str(folder / "out.csv"), *more]) == 0
    return (folder / "out.csv").read_text(encoding="utf-8").splitlines()


def test_columns_are_matched_by_name_and_known_cells_stay(tmp_path):
    """Names, numbers and words of the nearest row, in the cue's order and with its header."""
    people = "who;size;color\nAnna;1,50;red\nBob;1,75;blue\nCid;1,90;red\n"
    cue = "color;who;size\nblue;;\n;;1,91\nred;;1,6\n"
    assert recalled(tmp_path, people, cue) == [
        "color;who;size", "blue;Bob;1,75", "red;Cid;1,91", "red;Anna;1,6",
    ]  # fmt: skip
    assert recalled(tmp_path, people, cue, "--clean")[2:] == ["red;Cid;1,90", "red;Anna;1,50"]
    # Columns that the cue lacks are appended; those that are not stored stay.
    assert recalled(tmp_path, people, "age;size\n7;1,76\n8;1,51\n") == [
        "age;size;who;color", "7;1,76;Bob;blue", "8;1,51;Anna;red",
    ]  # fmt: skip
    # Without names on one side, columns are matched by place.
    assert recalled(tmp_path, "1,5;red\n2,5;blue\n1,5;red\n", "a;b\n2,4;\n;red\n") == [
        "a;b", "2,4;blue", "1,5;red",
    ]  # fmt: skip


@pytest.mark.parametrize("hidden", range(4))
def test_iris_is_filled_as_by_its_nearest_row(tmp_path, hidden):
    """Each stored row from three of its four numbers; most have no twin in those three."""
    from sklearn.datasets import load_iris

    table = load_iris().data
    names = "a,b,c,d"
    torn = table.astype(str).astype(object)
    torn[:, hidden] = ""
    stored = "\n".join([names, *(",".join(row) for row in table.astype(str))])
    cue = "\n".join([names, *(",".join(row) for row in torn)])
    rows = recalled(tmp_path, stored, cue)
    filled = np.array([row.split(",") for row in rows[1:]], float)
    shown = np.delete(table, hidden, 1) / np.delete(table, hidden, 1).std(0)
    twins = np.square(shown[:, None] - shown).sum(-1).argmin(1)
    nearest = np.sqrt(np.square(table[twins, hidden] - table[:, hidden]).mean())
    error = np.sqrt(np.square(filled[:, hidden] - table[:, hidden]).mean())
    assert rows[0] == names
    np.testing.assert_array_equal(np.delete(filled, hidden, 1), np.delete(table, hidden, 1))
    # A tie is averaged, which errs no more than picking one of it but for the last decimal.
    assert error <= nearest + 0.05
    assert error < 0.1 * table[:, hidden].std()


def test_a_console_without_greek_letters_stops_nothing(tables):
    arguments = ["recall", str(tables / "patterns.npy"), "--cue", str(tables / "cues.npz")]
    done = subprocess.run(
        [sys.executable, "-m", "isinglass", *arguments, "--out", str(tables / "out.npy")],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Wrote" in done.stdout.decode("cp1252")
    assert "Recall at ?" in done.stdout.decode("cp1252")


def test_recall_refuses_bad_tables(tables, capsys):
    def refused(content: str, found: str, name: str = "bad.csv", status: int = 1) -> None:
        (tables / name).write_text(content)
        out = str(tables / "out.csv")
        arguments = ["recall", str(tables / "patterns.csv"), "--cue", str(tables / name)]
        assert run([*arguments, "--out", out]) == status
        assert found in " ".join(capsys.readouterr().err.split())
        assert not (tables / "out.csv").exists()

    refused("1,2,3\n", "3 columns, the patterns have 12")
    refused("1,2,3\n4,5\n", "line 2 has 2 cells, most lines have 3")
    refused(",".join(["two", *"23456789abc"]) + "\n1" + ",2" * 11, "'two' in column '1', line 1")
    refused("a,b\n", "no rows")
    refused("", "no rows")
    refused("1,inf\n", "an infinite number in column '2', line 1")
    refused("," * 11, "nothing is known of cue 0")
    refused("1", "Name it .csv, .tsv, .txt, .npy, .npz", name="bad.xls", status=2)
    refused("not an array", "not a whole array file", name="bad.npy")
    arguments = ["--cue", str(tables / "cues.csv"), "--out", str(tables / "out.csv")]
    assert run(["recall", str(tables / "absent.csv"), *arguments]) == 1
    assert "no such file" in capsys.readouterr().err
    assert run(["recall", str(tables / "cues.csv"), *arguments]) == 1
    assert "Store whole rows only" in capsys.readouterr().err
    assert run(["recall", str(tables / "patterns.csv"), *arguments[:2], "--out", "x.xls"]) == 2
    assert "Name it .csv, .tsv, .txt, .npy, .npz" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["tour"], ["remember"], ["recall"]])
def test_help_teaches(command, capsys):
    assert run([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Usage" in text
    assert len(text.splitlines()) > 10


def test_help_shows_what_is_left_to_the_program(capsys):
    assert run(["tour", "--help"]) == 0
    assert "isinglass-tour.html" in capsys.readouterr().out
    assert run(["remember", "--help"]) == 0
    shown = " ".join(re.sub(r"[│\s]+", " ", capsys.readouterr().out).split())
    assert "chosen from the data" in shown
    assert "the first's, at most 1024" in shown


def test_version_and_module():
    done = subprocess.run(
        [sys.executable, "-m", "isinglass", "--version"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"isinglass \d+\.\d+\.\d+\n", done.stdout)


def test_missing_packages_are_named():
    script = "import sys; sys.modules['typer'] = None; from isinglass.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'isinglass[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_interrupted_imports_leave_no_traceback():
    script = """
import sys
class Interrupt:
    def find_spec(self, name, *rest):
        if name == "typer":
            raise KeyboardInterrupt
import isinglass.__main__
sys.meta_path.insert(0, Interrupt())
isinglass.__main__.main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == "isinglass: stopped\n"
