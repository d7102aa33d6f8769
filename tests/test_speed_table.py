"""The table of speeds: what was timed is what is printed and stored."""

from __future__ import annotations

import json
import time

import pytest
from rich.console import Console

pytest.importorskip("benchmarks.speed", reason="the benchmarks are in the clone alone")

from benchmarks.speed.__main__ import as_json, as_table
from benchmarks.speed.harness import compare


def test_ratio_of_two_timings_is_printed_and_stored() -> None:
    line = compare(
        "sleep", lambda: time.sleep(0.001), lambda: time.sleep(0.02),
        peer="a sleepier one", shapes="1 × 1", target=0.5, rounds=3,
    )  # fmt: skip
    console = Console(width=200, record=True)
    console.print(as_table([line]))
    text = console.export_text()
    assert "a sleepier one" in text
    assert "met" in text
    stored = json.loads(json.dumps(as_json([line])))["lines"][0]
    assert stored["ratio"] == pytest.approx(stored["ours"] / stored["theirs"])
    assert stored["ratio"] < 0.5
