"""Folders to run in, and one run from beginning to end."""

import shutil
import sys
from pathlib import Path

import pytest

from isinglass.cli import run
from tests.cli.act.short import WALK, WALKS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module of environments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "walks.py").write_text(WALKS)
    yield tmp_path
    sys.modules.pop("walks", None)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """One run from beginning to end."""
    folder = tmp_path_factory.mktemp("act")
    (folder / "walks.py").write_text(WALKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", sys.path.copy())
        assert run([*WALK, "--out", "whole"]) == 0
    sys.modules.pop("walks", None)
    return folder / "whole"


@pytest.fixture
def whole(once, folder):
    """A copy of it."""
    return Path(shutil.copytree(once, folder / "whole"))
