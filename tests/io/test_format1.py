"""Files that the code before the new names wrote are read as they were meant.

Each was written by that code with states and their energies in its note. The bound: energies are
sums of at most 20 float32 terms of size 10.
"""

from pathlib import Path

import pytest
import torch

import isinglass as ig
from isinglass.errors import FileError
from isinglass.io import archive
from isinglass.io._format1 import CLASSES, KEYS
from isinglass.learning.trainer.checkpoint import read_checkpoint, write_checkpoint

FILES = sorted(Path(__file__).parent.joinpath("format1").glob("*.safetensors"))
TABLE = Path(__file__).parent / "format1" / "table.safetensors"


@pytest.mark.parametrize("path", [path for path in FILES if path != TABLE], ids=lambda p: p.stem)
def test_an_energy_of_format_1_is_the_same_energy(path, tmp_path):
    energy, note = ig.load(path), archive.read_note(path)
    assert note is not None
    states, expected = torch.tensor(note["states"]), torch.tensor(note["energies"])
    torch.testing.assert_close(energy(states).detach(), expected, rtol=0, atol=1e-4)
    ig.save(energy, tmp_path / "again", note=note)
    header, _ = archive.read_tensors(tmp_path / "again")
    assert header["format"] == 2
    assert ig.load(tmp_path / "again").config() == energy.config()


def test_every_old_name_stands_in_a_file():
    """So that no line of the table of names is untested."""
    written = b"".join(path.read_bytes() for path in FILES).decode("latin-1")
    assert len(FILES) >= 25
    for name in (*CLASSES, *KEYS):
        assert f'"{name}' in written.replace("\\", "")


def test_names_of_others_stay():
    given = {"class": "mine:Bit", "config": {"kind": "mine:OneHot"}, "note": {"areas": "Bit"}}
    assert archive.rename(given) == given


def test_a_table_of_format_1_is_the_same_estimator():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    from isinglass.integrations.sklearn import HopfieldBoltzmannMachine

    model = HopfieldBoltzmannMachine.load(TABLE)
    table = pandas.DataFrame(
        {"size": [0.13, -0.13, 0.64], "kind": ["c", "b", "a"], "new": [True, False, True]}
    )
    # What the old code's score_samples gave, in float64.
    expected = [-2.2583290739135498, -2.7890877550988966, -3.0131439659329318]
    assert model.score_samples(table).tolist() == pytest.approx(expected, abs=1e-9)


def test_a_checkpoint_of_format_1_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FORMAT", 1)
    write_checkpoint(tmp_path / "run", {"energy": "RBM"}, {"step": 3})
    with pytest.raises(FileError, match=r"format 1.*Finish the run with the version"):
        read_checkpoint(tmp_path / "run", {"energy": "RBM"})
