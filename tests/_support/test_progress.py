"""Bars are seen on terminals, last where they should, and cost nothing where they cannot be."""

import sys
from io import StringIO

import pytest
from rich.console import Console

from isinglass._support.progress import progress_bar, progress_bars


def shown(*, terminal, lasting, width=80, what="measuring [3]"):
    """What is printed while two tasks are done."""
    file = StringIO()
    console = Console(file=file, force_terminal=terminal, width=width)
    with progress_bars(console=console, lasting=lasting) as bars:
        own, peer = bars.add("FreeEnergyQ", 200), bars.add("PPO")
        own(50, what)
        peer(2.0, "more than all")
    return file.getvalue()


def test_lasting_bars_are_printed_where_there_is_no_terminal():
    lines = [line.rstrip() for line in shown(terminal=False, lasting=True).splitlines()]
    assert [line.split()[0] for line in lines] == ["FreeEnergyQ", "PPO"]
    assert " 25% " in lines[0]
    assert lines[0].endswith("measuring [3]")  # no markup
    assert " 100% " in lines[1]
    assert max(map(len, lines)) <= 80


def test_other_bars_are_seen_on_terminals_only():
    assert shown(terminal=False, lasting=False) == ""
    assert "FreeEnergyQ" in shown(terminal=True, lasting=False)


@pytest.mark.parametrize("hidden", ["not shown", "no rich"])
def test_no_bar_is_no_error(hidden, monkeypatch, capsys):
    if hidden == "no rich":
        monkeypatch.setitem(sys.modules, "rich", None)
    with progress_bar(3, shown=hidden == "no rich") as show:
        show(1, "working")
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""
