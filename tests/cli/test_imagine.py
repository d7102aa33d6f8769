"""``isinglass imagine``: tables and images in, their own kind out, nothing lost."""

import csv
import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import isinglass as ig
from isinglass.cli import run
from isinglass.errors import FileError
from isinglass.integrations.sklearn import HopfieldBoltzmannMachine
from tests.seeds import numpy_seeded

NAMES = ["size", "count", "color", "large"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a table of all kinds of columns, every tenth cell unknown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    rng = numpy_seeded(0)
    rows = []
    for kind in rng.integers(0, 3, 120):
        row = [
            f"{2 * kind + 0.3 * rng.normal():.2f}", str(10 * kind + rng.integers(0, 3)),
            ("red", "green", "dark, blue")[kind], str(int(kind > 0)),
        ]  # fmt: skip
        rows.append([rng.choice(["", "NA"]) if rng.random() < 0.1 else cell for cell in row])
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([NAMES, *rows])
    return tmp_path


def read(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_unknown_cells_are_filled_and_known_ones_kept(folder, capsys):
    assert run(["imagine", "table.csv", "--impute", "--memories", "3"]) == 0
    before, after = read(folder / "table.csv"), read(folder / "table-imputed.csv")
    assert after[0] == NAMES
    assert len(after) == len(before)
    filled = 0
    for old, new in zip(before[1:], after[1:], strict=True):
        for place, (was, cell) in enumerate(zip(old, new, strict=True)):
            if was not in {"", "NA"}:
                assert cell == was
                continue
            filled += 1
            formats = [r"-?\d+\.\d\d", r"-?\d+", r"red|green|dark, blue", "[01]"]
            assert re.fullmatch(formats[place], cell)
        # Three kinds that do not overlap: what is filled must agree with what was there.
        kind = ("red", "green", "dark, blue").index(new[2])
        assert new[3] == str(int(kind > 0))
        assert abs(float(new[0]) - 2 * kind) < 1.2
        assert abs(int(new[1]) - 10 * kind - 1) < 4
    printed = capsys.readouterr().out
    assert f"Filled {filled} unknown cells of 120 rows" in printed
    ours, alone = (
        float(re.search(rf"{name}.*?│.*?│\s*(\S+)", printed).group(1))
        for name in ("this machine", "columns independent")
    )
    assert ours > alone + 1
    with Image.open(folder / "table-imputed-curve.png") as image:
        assert image.size[0] > 300


def test_samples_are_like_the_table_and_a_kept_machine_is_used_again(folder, capsys):
    arguments = ["imagine", "table.csv", "--model", "table.safetensors", "--curve", "c.svg"]
    assert run([*arguments, "--sample", "50", "--out", "fresh.csv"]) == 0
    rows = read(folder / "fresh.csv")
    assert rows[0] == NAMES
    assert len(rows) == 51
    assert {row[2] for row in rows[1:]} == {"red", "green", "dark, blue"}
    assert {row[3] for row in rows[1:]} == {"0", "1"}
    assert all(re.fullmatch(r"-?\d+\.\d\d", row[0]) for row in rows[1:])
    assert all(re.fullmatch(r"-?\d+", row[1]) for row in rows[1:])
    assert "held out" in capsys.readouterr().out
    again = [*arguments, "--sample", "50", "--out", "again.csv", "--force"]
    assert run(again) == 0
    assert (folder / "again.csv").read_text() == (folder / "fresh.csv").read_text()
    assert "held out" not in capsys.readouterr().out
    with pytest.raises(FileError, match=r"Read it with HopfieldBoltzmannMachine\.load"):
        ig.load(folder / "table.safetensors")
    assert run([*again, "--steps", "200", "--categorical", "color"]) == 0
    wrong = (["--memories", "2"], ["--steps", "9"], ["--categorical", "count"])
    for other in (*wrong, ["--covariance", "full"]):
        assert run([*again, *other]) == 2
        assert "or say --refit" in capsys.readouterr().err
    assert run([*again, "--memories", "2", "--refit"]) == 0
    assert HopfieldBoltzmannMachine.load("table.safetensors").n_memories_ == 2
    assert isinstance(ig.load(folder / "table.safetensors"), ig.HopfieldBoltzmann)


def test_images_are_imagined_and_completed(folder, capsys):
    rng = numpy_seeded(1)
    (folder / "photos").mkdir()
    for number in range(12):
        pixels = np.full((6, 4, 4), 255, np.uint8)
        pixels[..., :3] = (40 if number % 2 else 200) + rng.integers(0, 9, (6, 4, 3))
        if number < 2:
            pixels[3:, :, 3] = 0
        Image.fromarray(pixels).save(folder / f"photos/{number:02}.png")
    assert run(["imagine", "photos", "--impute", "--memories", "2", "--out", "whole.npz"]) == 0
    assert "Filled 72 unknown cells of 12 images" in capsys.readouterr().out  # 2 × 12 pixels × rgb
    whole = np.load(folder / "whole.npz")["arr_0"]
    assert whole.shape == (12, 6, 4, 3)
    assert np.abs(255 * whole[0] - 204).max() < 25
    assert np.abs(255 * whole[1] - 44).max() < 25
    with Image.open(folder / "whole-sheet.png") as sheet:
        assert sheet.size == (2 * 64 + 2, 2 * (96 + 2))
    images = rng.integers(0, 2, (20, 5, 4), dtype=np.uint8) * 255
    np.savez(folder / "bits.npz", images=images, labels=np.arange(20))
    assert run(["imagine", "bits.npz", "--sample", "9"]) == 0
    assert set(np.unique(np.load(folder / "bits-sampled.npz")["arr_0"])) == {0.0, 1.0}
    with Image.open(folder / "bits-sampled-sheet.png") as sheet:
        assert sheet.size == (3 * 66, 3 * 82)


def test_rows_of_an_array_are_images_if_told(folder, capsys):
    table = numpy_seeded(2).random((30, 12))
    table[0, :5] = np.nan
    np.save(folder / "rows.npy", table)
    arguments = ["imagine", "rows.npy", "--impute", "--how", "draw", "--memories", "2"]
    assert run([*arguments, "--image", "3x4", "--out", "rows.npz"]) == 0
    whole = np.load(folder / "rows.npz")["arr_0"]
    np.testing.assert_array_equal(whole[1:], table[1:])
    np.testing.assert_array_equal(whole[0, 5:], table[0, 5:])
    assert np.isfinite(whole).all()
    assert (folder / "rows-sheet.png").exists()
    assert run([*arguments, "--image", "5x5", "--out", "other.npz"]) == 1
    assert "5x5 for rows of 12 columns" in capsys.readouterr().err


def test_columns_are_what_they_are_called(folder):
    arguments = ["imagine", "table.csv", "--sample", "5", "--memories", "2", "--drop", "color"]
    kinds = ["--categorical", "count", "--numeric", "large", "--model", "m.safetensors"]
    assert run([*arguments, *kinds]) == 0
    columns = HopfieldBoltzmannMachine.load("m.safetensors").columns_.columns
    assert [type(column).__name__ for column in columns] == [
        "Numeric",
        "CategoricalColumn",
        "Numeric",
    ]
    rows = read(folder / "table-sampled.csv")
    assert rows[0] == ["size", "count", "large"]
    seen = {row[1] for row in read(folder / "table.csv")}
    assert {row[1] for row in rows[1:]} <= seen
    again = ["imagine", "table.csv", "--sample", "5", "--drop", "color", "--force"]
    assert run([*again, "--model", "m.safetensors"]) == 0


def imagined(folder, capsys, text, *more):
    """The rows written for this table, and what was said."""
    (folder / "t.csv").write_text(text)
    arguments = more or ["--impute"]
    assert (
        run(["imagine", "t.csv", "--memories", "1", "--force", "--out", "o.csv", *arguments]) == 0
    )
    return (folder / "o.csv").read_text().split("\n")[:-1], " ".join(
        capsys.readouterr().out.split()
    )


def test_a_column_alone_keeps_its_holes(folder, capsys):
    rows, said = imagined(folder, capsys, "a\n1\n\n3\n\n2\n")
    assert rows == ["a", "1", "2", "3", "2", "2"]
    assert "Filled 2 unknown cells of 5 rows" in said
    assert len(imagined(folder, capsys, "\n1\n\n3\n")[0]) == 4  # no names: the first is a hole
    rows, said = imagined(folder, capsys, "a,b\n1,2\n\n3,\n")
    assert rows == ["a,b", "1,2", "3,2"]
    assert "1 blank line is left out" in said


def test_ids_and_dates_are_written_but_not_learned(folder, capsys):
    lines = [f"{n},id{n},2024-01-{n + 1:02},{n % 2 or ''}" for n in range(12)]
    text = "\n".join([",id, when ,a", *lines]) + "\n"
    rows, said = imagined(folder, capsys, text)
    assert rows == [",id, when ,a", *(line + "1" * line.endswith(",") for line in lines)]
    assert "id: all different, left out; --categorical id keeps it" in said
    assert "when: dates, left out" in said
    assert "1: nameless, counts the rows, left out" in said
    rows, _ = imagined(folder, capsys, text, "--sample", "2")
    assert rows[1:] == [",,,1"] * 2
    _, said = imagined(folder, capsys, text, "--impute", "--categorical", "id")
    assert "id: all" not in said
    assert "1 categorical (id)" in said
    model = ["--impute", "--model", "m.safetensors"]
    imagined(folder, capsys, text, *model)
    rows, said = imagined(folder, capsys, ",id,when,a\n0,x,y,\n", *model)
    assert rows[1:] == ["0,x,y,1"]
    assert "id: not learned, left out" in said
    assert "Filled 1 unknown cell of 1 row:" in said


def test_stray_tokens_do_not_make_names_of_numbers(folder, capsys):
    rows, said = imagined(folder, capsys, "a,b\n1,x\n-,-\n3,x\n")
    assert rows[1:] == ["1,x", "2,-", "3,x"]
    assert "Taken as unknown: a '-' 1×; --no-na keeps such words" in said
    text = "a,b\n1,1\n2,2\n3,3\nn.d.,4\n"
    rows, said = imagined(folder, capsys, text)
    assert "a is numbers but for 'n.d.' in column 'a', line 5" in said
    assert imagined(folder, capsys, text, "--impute", "--na", "n.d.")[0][4] == "2,4"
    text = 'a,b\n"1,234",10%\n"2,000",20%\n'
    _, said = imagined(folder, capsys, text, "--impute", "--thousands", ",")
    assert "'10%' in column 'b', line 2 is taken for a name" in said
    (folder / "bad.csv").write_text(text)
    refused(capsys, "'1,234' in column 'a', line 2 may be 1234 or 1.234", "bad.csv", "--impute")


def test_numbers_and_truths_are_written_as_the_column_writes_them(folder, capsys):
    assert imagined(folder, capsys, "a;b\n1,5;1\n;2\n2,5;3\n")[0] == [
        "a;b", "1,5;1", "2,0;2", "2,5;3",
    ]  # fmt: skip
    rows, said = imagined(folder, capsys, "a,b\nTRUE,true\n,false\nTRUE,\nFALSE,true\n")
    assert rows[1:] == ["TRUE,true", "TRUE,false", "TRUE,true", "FALSE,true"]
    assert "2 binary (a, b)" in said
    rows, said = imagined(folder, capsys, "zip,a\n01234,1\n01234,2\n99999,3\n,4\n")
    assert rows[4] == "01234,4"
    assert "categorical (zip)" in said
    rows, _ = imagined(folder, capsys, "a,b\n9007199254740995,1\n,2\n")
    assert re.fullmatch(r"9007199254740\d{3},2", rows[2])
    rows, said = imagined(folder, capsys, "a,b,\n1,2,\n3,,\n")
    assert rows == ["a,b", "1,2", "3,2"]
    assert "the last column is empty in every line, left out" in said
    rows, _ = imagined(folder, capsys, "a,b\n1e-20,1\n3e-20,2\n,3\n")
    assert float(rows[3].split(",")[0]) == pytest.approx(2e-20)


def test_the_table_and_the_picture_say_the_same_likelihoods(folder, capsys):
    """The last point of the curve, and the chosen number's score on the rows held out."""
    assert run(["imagine", "table.csv", "--sample", "1", "--model", "s.safetensors"]) == 0
    fitted = HopfieldBoltzmannMachine.load("s.safetensors")
    said = capsys.readouterr().out
    row = re.search(r"this machine, \d+ memories in \d mixtures? .*?│\s*(\S+)", said).groups()
    assert row[0] == f"{fitted.log_likelihood_curve_[-1]:.4g}"
    spheres = ["--covariance", "spherical", "--model", "m.safetensors", "--force"]
    assert run(["imagine", "table.csv", "--sample", "1", *spheres]) == 0
    fitted = HopfieldBoltzmannMachine.load("m.safetensors")
    said = capsys.readouterr().out
    row = re.search(r"this machine, 3 memories\s*│\s*(\S+)\s*│\s*(\S+)", said).groups()
    assert row[0] == f"{fitted.log_likelihood_curve_[-1]:.4g}"
    assert row[1] == f"{fitted.validation_scores_[3]:.4g}"
    assert "columns independent, 1 memory" in said
    assert "categories only there count as unknown" in " ".join(said.split())
    _, said = imagined(folder, capsys, "a,b\n1,2\n3,4\n")
    assert "none of fewer than 10 rows" in said
    noise = "\n".join(f"{n * n % 37},{n * n % 41}" for n in range(40))
    _, said = imagined(folder, capsys, noise, "--sample", "1", "--memories", "5", "--steps", "1")
    assert "did not converge" in said


def test_grey_images_in_colour_files_have_one_channel(folder):
    (folder / "grey").mkdir()
    for number in range(4):
        pixels = np.full((3, 3, 4), 60 * number, np.uint8)
        pixels[..., 3] = 255
        Image.fromarray(pixels).save(folder / f"grey/{number}.png")
    assert run(["imagine", "grey", "--sample", "2", "--memories", "1"]) == 0
    assert np.load(folder / "grey-sampled.npz")["arr_0"].shape == (2, 3, 3)


def test_nothing_unknown_is_said_and_written(folder, capsys):
    np.save(folder / "whole.npy", numpy_seeded(3).integers(0, 255, (6, 4, 4), dtype=np.uint8))
    assert run(["imagine", "whole.npy", "--impute", "--memories", "1"]) == 0
    assert "Nothing is unknown: the rows are written as they were" in capsys.readouterr().out
    assert np.load(folder / "whole-imputed.npz")["arr_0"].shape == (6, 4, 4)
    with Image.open(folder / "whole-imputed-sheet.png") as sheet:
        assert sheet.size[0] > 4
    assert imagined(folder, capsys, "a,b\n1,2\n3,4\n")[0] == ["a,b", "1,2", "3,4"]


def test_codes_of_countries_are_not_overwritten(folder, capsys):
    rows, said = imagined(folder, capsys, "land,v\nZA,1\nNA,\nZA,3\nNA,NA\n")
    assert [row[:2] for row in rows[1:]] == ["ZA", "NA", "ZA", "NA"]
    assert "Filled 2 unknown cells of 4 rows (1 empty, 1 'NA')" in said


def refused(capsys, found, *arguments, status=1):
    assert run(["imagine", *arguments]) == status
    error = capsys.readouterr().err
    assert found in " ".join(error.split())
    assert "Traceback" not in error


def test_bad_input_is_named_and_writes_nothing(folder, capsys):
    def of(content, found, *more, status=1):
        (folder / "bad.csv").write_text(content)
        refused(capsys, found, "bad.csv", *(more or ["--impute"]), status=status)
        assert not list(folder.glob("bad-*"))

    of("", "no rows")
    of("a,b\n", "no rows")
    of("a,b\n1,2\n3\n", "line 3 has 1 cell, most lines have 2")
    of("a,b\n1,\n3,NA\n", "column 'b': every cell is unknown. Leave it out: --drop b")
    of('a,b\n1,2\n3,"4\n5,6\n7,8\n', "a quote in line 3 is not closed")
    of("a,b\n1,2\n3,\0\n", "a NUL byte in line 3")
    of("a,b\n1,2\n3,\n", "a file each", "--impute", "--sample", "5", status=2)
    both = ["--categorical", "a", "--numeric", "a"]
    of("a,b\n1,2\n3,\n", "Say one of them", "--impute", *both, status=2)
    of("a,b\n1e306,2\n3,\n", "column 'a': a number as large as 1e+306", "--impute")
    of("a,a\n1,2\n", "two columns named 'a'")
    of("a,b\n1,inf\n", "infinite number in column 'b'")
    of("a,b\n1,2\n", "no column 'c'", "--sample", "1", "--drop", "c", status=2)
    of("a,b\nx,2\n", "no number", "--sample", "1", "--numeric", "a")
    of("a,b\n1,2\n", "Give --sample N, --impute or --score", "--seed", "1", status=2)
    of("a,b\n1,2\n3,4\n", "--memories 9", "--impute", "--memories", "9", status=2)
    of("a,b\n1,2\n3,4\n", "Name it .csv", "--impute", "--out", "whole.npy", status=2)
    of("a,b\n1,2\n3,4\n", "its folder is not there", "--impute", "--out", "absent/whole.csv")
    of("a,b\n1,2\n3,4\n", "--image HxW", "--impute", "--sheet", "sheet.png", status=2)
    (folder / "latin.csv").write_bytes("naïve,b\n1,2\n".encode("latin-1"))
    ascii_only = ["--impute", "--encoding", "ascii"]
    refused(capsys, "no text in ascii. Say what it is with --encoding", "latin.csv", *ascii_only)
    unknown = ["--impute", "--encoding", "klingon"]
    refused(
        capsys, "--encoding klingon. Name one that Python knows", "latin.csv", *unknown, status=2
    )
    refused(capsys, "no such file", "absent.csv", "--impute")
    refused(capsys, "Name it .csv, .tsv, .txt, .npy, .npz", "table.xls", "--impute", status=2)
    (folder / "bad.npz").write_bytes(b"not an archive")
    refused(capsys, "not a whole array file", "bad.npz", "--impute")


def test_new_categories_and_other_tables_are_named(folder, capsys):
    assert run(["imagine", "table.csv", "--sample", "1", "--model", "m.safetensors"]) == 0
    (folder / "new.csv").write_text("size,count,color,large\n,,purple,1\n")
    again = ["--impute", "--model", "m.safetensors"]
    refused(capsys, "'purple' in column 'color'", "new.csv", *again)
    assert run(["imagine", "new.csv", *again, "--unseen", "missing"]) == 0
    assert read(folder / "new-imputed.csv")[1][2:] == ["purple", "1"]
    (folder / "other.csv").write_text("size,color\n1,red\n")
    refused(capsys, "Give the columns of the fit", "other.csv", *again)
    ig.save(ig.RBM(ig.Bernoulli(2), ig.Bernoulli(2)), folder / "rbm.safetensors")
    refused(capsys, "describes no columns", "table.csv", "--impute", "--model", "rbm.safetensors")
    (folder / "broken.safetensors").write_bytes((folder / "m.safetensors").read_bytes()[:-9])
    refused(
        capsys, "not a whole isinglass file", "table.csv", "--impute", "--model",
        "broken.safetensors",
    )  # fmt: skip


def test_nothing_is_overwritten_unasked(folder, capsys):
    assert run(["imagine", "table.csv", "--sample", "3", "--memories", "2"]) == 0
    before = (folder / "table-sampled.csv").read_bytes()
    refused(capsys, "exists already", "table.csv", "--sample", "4", "--memories", "2")
    assert (folder / "table-sampled.csv").read_bytes() == before
    assert run(["imagine", "table.csv", "--sample", "4", "--memories", "2", "--force"]) == 0
    assert len(read(folder / "table-sampled.csv")) == 5


@pytest.mark.slow
def test_a_kill_loses_nothing(folder):
    """Killed or stopped while it learns: what was there is whole, and nothing is left over."""
    rng = numpy_seeded(0)
    np.save(folder / "large.npy", rng.normal(size=(5_000, 20)))
    command = [
        sys.executable, "-m", "isinglass", "imagine", "../large.npy", "--sample", "5", "--force",
        "--memories", "50", "--steps", "1000", "--model", "m.safetensors",
    ]  # fmt: skip
    for stop, status in {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}.items():
        place = folder / stop.name
        place.mkdir()
        (place / "large-sampled.npy").write_bytes(b"before")
        process = subprocess.Popen(
            command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        assert "Learning 5000 rows" in process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(stop)
        _, said = process.communicate()
        assert process.returncode == status
        assert "Traceback" not in said
        assert [path.name for path in (folder / stop.name).iterdir()] == ["large-sampled.npy"]
        assert (folder / stop.name / "large-sampled.npy").read_bytes() == b"before"


def test_odd_rows_are_named(folder, capsys):
    """A row that breaks what the others keep is the least likely one."""
    rng = numpy_seeded(5)
    x = rng.normal(size=200)
    rows = np.stack([x, 2 * x + 0.1 * rng.normal(size=200), rng.normal(size=200)], 1)
    rows[17] = 1.5, -3.0, 0.0
    lines = ["a,b,c", *(",".join(f"{cell:.3f}" for cell in row) for row in rows)]
    (folder / "odd.csv").write_text("\n".join(lines) + "\n")
    assert run(["imagine", "odd.csv", "--score", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["rows"] == 200
    found = read(folder / "odd-scored.csv")
    assert found[0] == ["row", "log_likelihood", "likelier_rows"]
    assert len(found) == 201
    worst = min(found[1:], key=lambda row: float(row[1]))
    assert worst[0] == "18"
    assert float(worst[2]) == pytest.approx(0.995)
    assert run(["imagine", "odd.csv", "--score", "--force"]) == 0
    assert re.search(r"Least likely rows: 18 \(-\d", capsys.readouterr().out)
    refused(capsys, "which write a file each", "odd.csv", "--score", "--impute", status=2)
    refused(capsys, "Name it .csv", "odd.csv", "--score", "--out", "odd.npy", status=2)


def test_options_that_would_do_nothing_are_refused(folder, capsys):
    (folder / "odd.csv").write_text("a,b\n1,2\n3,4\n")
    refused(capsys, "without --impute", "odd.csv", "--score", "--how", "draw", status=2)
    refused(capsys, "without --impute", "odd.csv", "--sample", "3", "--how", "mean", status=2)
    refused(capsys, "without --model", "odd.csv", "--score", "--refit", status=2)


def test_nothing_learned_is_said(folder, capsys):
    """Twelve photos without anything in common, and a number of memories told."""
    (folder / "few").mkdir()
    for number, pixels in enumerate(numpy_seeded(3).integers(0, 256, (12, 16, 16), np.uint8)):
        Image.fromarray(pixels).save(folder / f"few/{number:02}.png")
    assert run(["imagine", "few", "--sample", "4"]) == 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert "No better than independent pixels" in said
    assert "--memories 6" in said
    assert run(["imagine", "table.csv", "--impute", "--memories", "3"]) == 0
    assert "No better than" not in " ".join(capsys.readouterr())


def test_rare_pixels_and_odd_cells_do_not_decide(folder, capsys):
    """A pixel of one image is worth no thousands of nats, a cell of 1e9 no memory."""
    rows = numpy_seeded(4).integers(0, 5, (60, 6)).astype(float)
    rows[:, :3] = rows[:, 3:] + 0.0
    rows[:, 0] = 0
    rows[7, 0] = 1
    np.save(folder / "rare.npy", rows)
    assert run(["imagine", "rare.npy", "--sample", "4", "--memories", "5"]) == 0
    held = re.search(r"this machine.*?│.*?│\s*(\S+)", capsys.readouterr().out).group(1)
    assert float(held.replace("−", "-")) > -30
    rows[3, 4] = 1e9
    np.save(folder / "odd.npy", rows)
    assert run(["imagine", "odd.npy", "--sample", "4", "--memories", "5"]) == 0
    assert "1 cell so far from the others" in " ".join("".join(capsys.readouterr()).split())
