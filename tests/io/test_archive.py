"""Files are whole or refused; nothing is overwritten unasked; nothing runs from a file."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import isinglass as ig
from isinglass.errors import FileError
from isinglass.io.archive import read_note
from isinglass.io.atomic import atomic_write
from isinglass.io.lock import claim, take_lock
from tests.cases import ENERGIES, double


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "memory.safetensors"
    ig.save(ig.ModernHopfield(double(4, 3), beta=2.0), path)
    return path


def test_everything_comes_back(saved, tmp_path):
    copy = ig.load(saved)
    assert isinstance(copy, ig.ModernHopfield)
    assert copy.beta == 2.0
    assert copy.patterns.dtype == torch.float64
    learned = ig.HopfieldBoltzmann(ig.Categorical(6, groups=2), 3, groups=2, draws=4, beta=0.3)
    learned.patterns.requires_grad_(False)
    ig.save(learned, tmp_path / "other")
    again = ig.load(tmp_path / "other")
    assert again.config() == learned.config()
    assert [p.requires_grad for p in again.parameters()] == [False, True, True]


def test_every_shorter_file_is_refused(saved, tmp_path):
    whole = saved.read_bytes()
    for length in {0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 8, len(whole) - 1}:
        part = tmp_path / f"part{length}"
        part.write_bytes(whole[:length])
        with pytest.raises(FileError, match="not a whole isinglass file"):
            ig.load(part)


def test_every_altered_byte_is_refused(saved, tmp_path):
    whole = bytearray(saved.read_bytes())
    altered = tmp_path / "altered"
    for place in range(0, len(whole), max(1, len(whole) // 97)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        altered.write_bytes(damaged)
        with pytest.raises(FileError):
            ig.load(altered)


def test_foreign_files_are_refused(saved, tmp_path):
    with pytest.raises(FileError, match="no such file"):
        ig.load(tmp_path / "absent")
    plain = tmp_path / "plain.safetensors"
    save_file({"x": torch.zeros(2)}, plain)
    with pytest.raises(FileError, match="not a whole isinglass file"):
        ig.load(plain)
    with safe_open(str(saved), framework="pt") as file:
        header = json.loads(file.metadata()["isinglass"])
        tensors = {"patterns": file.get_tensor("patterns")}
    newer = tmp_path / "newer"
    save_file(tensors, newer, metadata={"isinglass": json.dumps(header | {"format": 99})})
    with pytest.raises(FileError, match=r"format 99.*Upgrade"):
        ig.load(newer)
    with pytest.raises(FileError):
        ig.load(tmp_path)  # a folder


def test_nothing_is_overwritten_unasked(saved):
    before = saved.read_bytes()
    with pytest.raises(FileError, match="exists already"):
        ig.save(ig.ModernHopfield(torch.eye(2)), saved)
    assert saved.read_bytes() == before
    ig.save(ig.ModernHopfield(torch.eye(2)), saved, overwrite=True)
    assert saved.read_bytes() != before


def test_a_failure_leaves_the_old_file_and_no_litter(saved):
    before = saved.read_bytes()

    def fail() -> None:
        with atomic_write(saved, overwrite=True) as aside:
            aside.write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
    with (
        pytest.raises(FileError, match="folder cannot be written"),
        atomic_write(saved / "no" / "x"),
    ):
        pass
    with pytest.raises(FileError, match="it is a folder or a device"), atomic_write(saved.parent):
        pass


def test_links_are_followed_and_rights_kept(saved, tmp_path):
    link = tmp_path / "link.safetensors"
    link.symlink_to(saved)
    saved.chmod(0o600)
    with pytest.raises(FileError, match="exists already"):
        ig.save(ig.ModernHopfield(torch.eye(2)), link)
    ig.save(ig.ModernHopfield(torch.eye(2)), link, overwrite=True)
    assert link.is_symlink()
    assert saved.stat().st_mode & 0o777 == 0o600
    assert torch.equal(ig.load(saved).patterns, torch.eye(2))


def test_only_files_are_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(FileError, match="folder or a device"):
        ig.save(ig.ModernHopfield(torch.eye(2)), pipe, overwrite=True)
    assert pipe.is_fifo()


def test_a_class_of_the_same_name_elsewhere_is_another(saved, tmp_path):
    class ModernHopfield(ig.ModernHopfield):
        pass

    assert type(ig.load(saved)) is ig.ModernHopfield
    ig.save(ModernHopfield(torch.eye(2)), tmp_path / "mine")
    assert type(ig.load(tmp_path / "mine")) is ModernHopfield


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_named_error(saved):
    before = saved.read_bytes()
    with (
        pytest.raises(FileError, match="disk refused"),
        atomic_write(saved, overwrite=True),
        Path("/dev/full").open("wb") as full,
    ):
        full.write(b"x" * 100_000)
    assert saved.read_bytes() == before


def test_a_kill_in_the_middle_leaves_the_old_file(saved):
    before = saved.read_bytes()
    script = textwrap.dedent("""
        import sys, time
        from isinglass.io.atomic import atomic_write
        with atomic_write(sys.argv[1], overwrite=True) as aside:
            aside.write_text("half")
            print("half", flush=True)
            time.sleep(60)
    """)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(saved)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert saved.read_bytes() == before


def test_an_energy_that_is_not_imported_is_refused(saved, tmp_path):
    class Passing(ig.ModernHopfield):
        pass

    path = tmp_path / "passing"
    ig.save(Passing(torch.eye(2)), path)
    assert type(ig.load(path)) is Passing
    script = f"import isinglass as ig; ig.load({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "which is not imported" in done.stderr


def test_marginals_say_that_the_machine_is_what_is_saved(tmp_path):
    with pytest.raises(ig.errors.IntractableError, match=r"Save marginal\.harmonium"):
        ig.save(ig.RBM(ig.Bernoulli(2), ig.Bernoulli(2)).marginal(), tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_all_energies_say_their_class():
    assert len({type(case.build()) for case in ENERGIES}) >= 5


@pytest.mark.parametrize("memory", [ig.DenseMemory, ig.ClassicalHopfield])
def test_files_of_a_version_that_kept_less_are_named(memory, tmp_path, monkeypatch):
    path = tmp_path / "memory.safetensors"
    made = memory(torch.ones(2, 3))
    monkeypatch.setattr(memory, "config", lambda self: {"patterns": list(self.patterns.shape)})
    ig.save(made, path)
    with pytest.raises(FileError, match=rf"its {memory.__name__} does not fit.*version"):
        ig.load(path)


def test_tensors_that_do_not_fit_are_named(tmp_path, monkeypatch):
    path = tmp_path / "memory.safetensors"
    made = ig.ModernHopfield(torch.eye(2))
    monkeypatch.setattr(ig.ModernHopfield, "state_dict", lambda self: {"rows": self.patterns})
    ig.save(made, path)
    with pytest.raises(FileError, match=r"does not fit.*rows"):
        ig.load(path)


def test_a_note_is_kept_with_the_energy_and_guarded(tmp_path):
    path = tmp_path / "noted.safetensors"
    note = {"columns": ["größe", None, 1.5], "scale": [1e-300, 3.0]}
    ig.save(ig.ModernHopfield(torch.eye(3)), path, note=note)
    assert read_note(path) == note
    assert isinstance(ig.load(path), ig.ModernHopfield)
    path.write_bytes(path.read_bytes().replace(b"3.0", b"4.0"))
    with pytest.raises(FileError, match="checksum"):
        read_note(path)
    ig.save(ig.ModernHopfield(torch.eye(3)), path, overwrite=True)
    assert read_note(path) is None


HALF = """
import sys, time
from isinglass.io.atomic import atomic_write
from isinglass.io.lock import claim, take_lock
with atomic_write(sys.argv[1], overwrite=True) as aside:
    aside.write_text("half")
    print("half", flush=True)
    time.sleep(120)
"""


def start_writing(path):
    command = [sys.executable, "-c", HALF, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    return process


def test_what_a_killed_writer_left_is_swept_and_no_other(tmp_path):
    """By the next write in the folder, whatever its name; one that still writes is left alone."""
    killed, alive = start_writing(tmp_path / "killed.csv"), start_writing(tmp_path / "alive.csv")
    try:
        killed.kill()
        killed.wait()
        assert len(list(tmp_path.iterdir())) == 2
        with atomic_write(tmp_path / "next") as aside:
            aside.write_text("whole")
        (left,) = (path for path in tmp_path.iterdir() if path.name != "next")
        assert (left / "alive.csv").read_text() == "half"
    finally:
        for process in (killed, alive):
            process.kill()
            process.wait()
            process.stdout.close()
    with atomic_write(tmp_path / "last") as aside:
        aside.write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "next"]


@pytest.mark.parametrize("linked", [True, False])
def test_a_file_that_came_meanwhile_stays(tmp_path, monkeypatch, linked):
    """With links it is refused in one step; without them it is looked for once more."""
    if not linked:

        def refuse(*_):
            raise OSError("no links here")

        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "one"
    with pytest.raises(FileError, match="exists already"), atomic_write(path) as aside:  # noqa: PT012
        aside.write_text("mine")
        path.write_text("theirs")
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]
    with atomic_write(tmp_path / "two") as aside:
        aside.write_text("mine")
    assert (tmp_path / "two").read_text() == "mine"


def test_a_lock_is_held_by_one_and_goes_with_its_process(tmp_path):
    path = tmp_path / ".lock"
    with (
        claim(path, "trying"),
        pytest.raises(FileError, match="another process is writing"),
        claim(path, "trying again"),
    ):
        pass
    assert not path.exists()
    script = "import sys, time; from pathlib import Path; from isinglass.io.lock import take_lock\n"
    script += "take_lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(120)"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert take_lock(path) is None
        process.kill()
        process.wait()
    with claim(path, "after a kill"):
        assert path.exists()
    with (
        pytest.raises(FileError, match="cannot be written"),
        claim(tmp_path / "no" / "x", "trying"),
    ):
        pass
