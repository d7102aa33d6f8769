"""Commands where disk or memory is short: one line that says so, and what was there stays."""

import resource
import subprocess
import sys

import numpy as np
import pytest

from isinglass.cli._wording import lacks_memory
from isinglass.cli.app import run
from tests.seeds import numpy_seeded

COMMANDS = {
    "imagine": ["imagine", "rows.npy", "--sample", "900", "--memories", "2", "--out", "out.npy"],
    "remember": ["remember", "rows.npy", "--cue", "rows.npy", "--out", "out.npy"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", numpy_seeded(0).random((900, 4)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_full_disk_leaves_what_was_there(folder, capsys, command):
    (folder / "out.npy").write_bytes(b"before")
    whole = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, whole[1]))  # as a disk with so much left
    try:
        status = run([*command, "--force", "--quiet"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, whole)
    assert status == 1
    assert "the disk refused it" in capsys.readouterr().err
    assert (folder / "out.npy").read_bytes() == b"before"
    assert sorted(file.name for file in folder.iterdir()) == ["out.npy", "rows.npy"]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_folder_that_cannot_be_written(folder, capsys, command):
    assert run([*command[:-1], "/proc/out.npy", "--quiet"]) == 1
    assert "its folder cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "found"),
    [(MemoryError(), True), (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
     (RuntimeError("of another kind"), False), (OSError(12, "Cannot allocate memory"), True)],
)  # fmt: skip
def test_short_memory_is_told_from_other_errors(error, found, monkeypatch, capsys):
    def fail(*_: object, **__: object) -> None:
        raise error

    assert lacks_memory(error) == found
    monkeypatch.setattr(sys.modules["isinglass.cli.app"], "app", fail)
    assert run(["imagine"]) == 1
    assert ("there is not enough memory" in capsys.readouterr().err) == found


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_memory_limit_ends_in_a_line(folder, command):
    np.save(folder / "rows.npy", numpy_seeded(0).random((3000, 1500)))
    limit = 2**30  # torch alone takes most of it
    done = subprocess.run(
        [sys.executable, "-m", "isinglass", *command],
        capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr
