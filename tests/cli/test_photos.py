"""``imagine`` and ``remember`` on folders of photos as they are: odd files named, the rest used."""

import json

import numpy as np
import pytest
from PIL import Image

from isinglass.cli.app import run
from tests.seeds import numpy_seeded


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(6):
        small = numpy_seeded(number).integers(0, 256, (4, 3), dtype=np.uint8)
        Image.fromarray(small).resize((15, 200)).save(f"photos/p{number}.jpg")
    (tmp_path / "photos" / "._p0.jpg").write_bytes(bytes(9))
    (tmp_path / "photos" / "q.heic").touch()
    return tmp_path / "photos"


IMAGINE = ["imagine", "--sample", "2", "--memories", "1", "--json"]


def test_imagine_names_odd_files_and_goes_on(photos, capsys):
    assert run([*IMAGINE, "photos"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert notes[:2] == [
        "photos/._p0.jpg is left out: notes of macOS on another file, no image",
        "Passed over, being no PNG, JPEG or array: 1 .heic",
    ]
    assert notes[2].startswith("Images are brought to 64 x 5 pixels, the first has 200 x 15")
    assert np.load("photos-sampled.npz")["arr_0"].shape == (2, 64, 5)


def test_imagine_takes_files_as_a_shell_lists_them(photos, capsys):
    """The first, by name, is none of the images."""
    files = [str(file) for file in sorted(photos.iterdir())]
    assert run([*IMAGINE, *files, "--size", "8", "--out", "drawn.npy"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert [note.split(":")[0] for note in notes[:2]] == [
        f"{photos}/._p0.jpg is left out", f"{photos}/q.heic is left out"
    ]  # fmt: skip


def test_remember_names_odd_files_and_goes_on(photos, capsys):
    cue = str(photos / "p3.jpg")
    (photos / "p4.jpg").write_bytes((photos / "p4.jpg").read_bytes()[:300])
    assert run(["remember", "photos", "--cue", cue, "--hide", "lower", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["nearest"].endswith("p3.jpg")
    assert report["stored"] == 5
    assert "p4.jpg is left out: not a whole image" in report["notes"][1]
    with Image.open("completion.png") as image:
        assert image.size == (15, 200)


def test_if_nothing_is_left_both_commands_say_why(photos, capsys):
    for file in photos.glob("p*"):
        file.write_bytes(b"")
    assert run([*IMAGINE, "photos"]) == 1
    error = capsys.readouterr().err
    assert "reading photos: no image (photos/._p0.jpg is left out" in error
    assert "1 .heic" in error
    assert run(["remember", "photos", "--cue", "photos/p0.jpg"]) == 1
    assert "reading photos: no image" in capsys.readouterr().err
