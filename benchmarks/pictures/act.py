"""Picture of the guide to ``isinglass act``: the learning curves that its report draws."""

from __future__ import annotations

import tempfile
from pathlib import Path

from matplotlib.figure import Figure

from isinglass.cli import run
from isinglass.cli.act.evaluation import measure_random_baseline
from isinglass.cli.act.report import curves
from isinglass.cli.act.run import read_request, read_result


def draw() -> dict[str, Figure]:
    """All figures, by file name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        run(["act", "isinglass/LargeAction-v0", "--steps", "12000", "--out", str(folder)])
        request = read_request(folder)
        found = (read_result(folder / agent) for agent in ("FreeEnergyQ", *request.peers))
        results = [result for result in found if result is not None]
        return {"act-report": curves(request, results, measure_random_baseline(request).mean)}
