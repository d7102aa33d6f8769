"""The command line: does its work, teaches, and fails in one line."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from isinglass.cli import run


@pytest.fixture
def gallery(tmp_path):
    rng = np.random.default_rng(0)
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
    assert "converged" in printed
    assert "done.png" in printed
    with Image.open(gallery / "out" / "done.png") as image:
        done = np.asarray(image).astype(int)
        report = json.loads(image.info["isinglass"])
    with Image.open(gallery / "3.png") as image:
        assert np.abs(done - np.asarray(image)).max() <= 1
    assert report["converged"] is True
    assert report["known"] == 0.5
    assert report["nearest"].endswith("3.png")
    assert report["energy of the completion"] < report["energy of the cue"]
    assert report["similarity to the nearest"] > 0.999


def test_remember_reads_arrays_and_resizes(gallery, capsys):
    images = np.random.default_rng(1).random((5, 16, 16, 3))
    np.save(gallery / "many.npy", images)
    out = gallery / "done.png"
    arguments = ["remember", str(gallery / "many.npy"), "--cue", str(gallery / "many.npy")]
    assert run([*arguments, "--out", str(out)]) == 1
    assert "Choose one with --index" in capsys.readouterr().err
    assert run([*arguments, "--out", str(out), "--index", "9"]) == 1
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


@pytest.mark.parametrize("command", [[], ["tour"], ["remember"]])
def test_help_teaches(command, capsys):
    assert run([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Usage" in text
    assert len(text.splitlines()) > 10


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
