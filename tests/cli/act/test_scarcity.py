"""``isinglass act`` where disk or memory is short, and killed: one line, and nothing lost."""

import errno
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from isinglass.cli import run
from isinglass.cli.act import checkpoints as act_checkpoints
from isinglass.cli.act.log import ScalarLog
from tests.cli.act.short import WALK, newest, replayed, weights


@contextmanager
def room_for(size):
    """A disk that takes files of so many bytes."""
    whole = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, whole[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, whole)


def kept(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.[zj]*")}


@pytest.mark.parametrize("size", [100, 4_096, 40_000])
def test_a_disk_too_small_for_an_agent_leaves_no_folder(folder, capsys, size):
    with room_for(size):
        assert run([*WALK, "--out", "run", "--quiet"]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert "the disk refused it" in said
    assert not (folder / "run").exists()


def test_a_disk_too_small_for_the_page_keeps_what_was_learned(folder, capsys, monkeypatch):
    with room_for(70_000):
        assert run([*WALK, "--out", "run"]) == 1
    printed = capsys.readouterr()
    assert "report.html: the disk refused it" in printed.err
    assert "Go on with: isinglass act --resume run" in printed.out
    before = kept(folder / "run")
    assert run(["act", "--resume", "run"]) == 0
    assert (folder / "run" / "report.html").exists()
    assert kept(folder / "run") == before


def test_a_full_disk_when_a_run_goes_on_leaves_what_was_there(whole, capsys):
    (whole / "FreeEnergyQ" / "result.json").unlink()
    newest(whole).unlink()
    before, page = kept(whole), (whole / "report.html").read_bytes()
    with room_for(4_096):
        assert run(["act", "--resume", "whole"]) == 1
    printed = capsys.readouterr()
    # The agent itself is written first where it is the best as yet.
    assert re.search(r"(checkpoint-000000000120|best)\.zip: the disk refused it", printed.err)
    assert "The log of FreeEnergyQ lacks entries: [Errno 27]" in printed.out
    assert "Go on with: isinglass act --resume whole" in printed.out
    assert kept(whole) == before
    assert (whole / "report.html").read_bytes() == page
    assert run(["act", "--resume", "whole"]) == 0


@pytest.mark.parametrize("out", ["/proc/run", "a" * 300, "a" * 300 + "/run"])
def test_a_folder_that_cannot_be_made(folder, capsys, out):
    assert run([*WALK, "--out", out]) == 1
    assert "Name a folder that can be made: --out" in capsys.readouterr().err
    assert run([*WALK, "--from", out]) == 1
    assert "no agent that can be read" in capsys.readouterr().err


def test_runs_where_nothing_can_be_written(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.chdir("/proc")
    assert run(WALK) == 1
    assert "Name a folder that can be made: --out" in capsys.readouterr().err
    assert run(["act", "--resume", "self"]) == 1
    assert "no run there that can be read" in capsys.readouterr().err


def test_the_folder_of_an_agent_that_cannot_be_made(whole, capsys):
    shutil.rmtree(whole / "FreeEnergyQ")
    (whole / "FreeEnergyQ").write_bytes(b"")
    assert run(["act", "--resume", "whole"]) == 1
    assert "making whole/FreeEnergyQ: " in capsys.readouterr().err


def test_a_disk_that_takes_nothing_any_more_hides_no_error(folder, monkeypatch, capsys):
    """As one is mounted again for reading alone after it has failed: the lock stays too."""
    remove = Path.unlink

    def refuse(path, missing_ok=False):
        if path.name == ".lock" or path.suffix == ".zip":
            raise OSError(errno.EROFS, "Read-only file system")
        remove(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert run([*WALK, "--env-set", "spoil=110", "--out", "run"]) == 1
    assert "values of the reward are NaN" in capsys.readouterr().err
    assert run([*WALK, "--every", "20", "--out", "more"]) == 0  # one checkpoint more is no harm


def test_a_disk_full_for_standard_output(folder, monkeypatch, capsys):
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run([*WALK, "--out", "run"]) == 1
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space"):
            full.close()
    assert "isinglass: the disk refused it" in capsys.readouterr().err


def test_a_log_goes_on_once_there_is_room_again(tmp_path):
    log = ScalarLog(tmp_path)
    log.write({"a": 1.0, "b": "words", "c": 2}, {"a": None, "b": None, "c": ("tensorboard",)}, 1)
    with room_for(log.path.stat().st_size + 10):  # which tears the entry
        log.write({"a": 2.0}, {}, 2)
    assert isinstance(log.refused, OSError)
    log.write({"a": 3.0}, {}, 3)
    events = [event for event in EventFileLoader(str(log.path)).Load() if event.summary.value]
    assert [(e.step, v.tag) for e in events for v in e.summary.value] == [(1, "a"), (3, "a")]
    assert ScalarLog(tmp_path).path != log.path


@pytest.mark.parametrize("place", ["read_checkpoint", "_read_best", "build_agent", "weights"])
def test_short_memory_is_not_taken_for_damage(whole, capsys, monkeypatch, place):
    before = kept(whole)
    (whole / "FreeEnergyQ" / "result.json").unlink()

    def fail(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    command = ["act", "--resume", "whole"]
    if place == "read_checkpoint":
        monkeypatch.setattr(act_checkpoints.zipfile, "ZipFile", fail)
    elif place == "_read_best":
        monkeypatch.setattr("isinglass.cli.act.learner.read_checkpoint", lambda *_, **__: None)
        monkeypatch.setattr("isinglass.agents.FreeEnergyQ.load", fail)
        command = [*WALK, "--out", "new"]
    else:
        wrong = {"build_agent": "_setup_model", "weights": "load"}[place]
        monkeypatch.setattr(f"isinglass.agents.FreeEnergyQ.{wrong}", fail)
        command = [*WALK, "--from", "whole", "--out", "new"]
    assert run(command) == 1
    printed = capsys.readouterr()
    assert "isinglass: there is not enough memory" in printed.err
    assert "damaged" not in printed.out
    assert "Going on from" not in printed.out
    (whole / "FreeEnergyQ" / "result.json").write_bytes(before[Path("FreeEnergyQ") / "result.json"])
    assert kept(whole) == before


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [300, 550, 650, 750, 1_000])
def test_a_memory_limit_ends_in_a_line(folder, megabytes):
    limit = megabytes * 2**20
    done = subprocess.run(
        [sys.executable, "-m", "isinglass", *WALK, "--out", "run", "--quiet"],
        capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1
    if done.returncode == 1:
        assert "memory" in done.stderr.lower()  # OpenBLAS says so itself, and ends Python


#: The command, killed when the nth file is written whole and not yet in its place.
KILLED = """
import os, signal, sys
from isinglass.cli import run
left = int(sys.argv.pop(1))
def kill(descriptor):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = kill
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("nth", range(1, 9))
def test_a_kill_while_a_file_is_written(folder, whole, real_machine, nth):
    out = folder / "killed"
    command = [sys.executable, "-c", KILLED, str(nth), *WALK, "--out", str(out), "--quiet"]
    done = subprocess.run(command, check=False)
    if done.returncode == 0:  # not so many files are written
        assert nth > 6
        return
    assert done.returncode == -signal.SIGKILL
    assert list(out.rglob(".isinglass-*"))
    begun = (out / "run.json").exists()
    assert run(["act", "--resume", str(out)] if begun else [*WALK, "--out", str(out)]) == 0
    assert begun == (nth > 1)
    assert torch.equal(weights(newest(out))[0], weights(newest(whole))[0])
    assert replayed(newest(out)) == replayed(newest(whole))
    assert not list(out.rglob(".isinglass-*"))
    assert json.loads((out / "run.json").read_text())["steps"] == 120
    assert not (out / ".lock").exists()
