"""Run the speed comparisons, print one table and store it as JSON.

Each module of this folder with a function ``lines()`` is one group of comparisons.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.speed.harness import Line

GROUPS = ("classical", "dense", "scale", "layers", "attention", "boltzmann", "learning", "heads")


def main() -> None:
    """Parse the command line, run the groups, print and store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("groups", nargs="*", help=f"which of {' '.join(GROUPS)}; all if none")
    parser.add_argument("--threads", type=int, default=2, help="threads for torch and the peers")
    parser.add_argument("--out", type=Path, default=Path("speed.json"), help="where the JSON goes")
    given = parser.parse_args()
    if unknown := set(given.groups) - set(GROUPS):
        parser.error(f"no group {' '.join(unknown)}: there are {' '.join(GROUPS)}")
    if "OPENBLAS_CORETYPE" in os.environ:
        parser.error("OPENBLAS_CORETYPE is set and slows numpy and faiss down: unset it first")
    torch.set_num_threads(given.threads)
    console = Console()
    found: list[Line] = []
    for group in given.groups or GROUPS:
        with console.status(f"timing {group} …"):
            found += importlib.import_module(f"benchmarks.speed.{group}").lines()
    console.print(as_table(found))
    given.out.write_text(json.dumps(as_json(found), indent=2))
    console.print(f"written to {given.out}")


def as_table(lines: list[Line]) -> Table:
    """The lines for the eye."""
    table = Table(title=f"isinglass beside its peers, {torch.get_num_threads()} threads")
    for column in ("what", "shapes", "ours", "peer", "peer's", "ratio", "target", ""):
        table.add_column(column)
    for line in lines:
        table.add_row(
            line.what, line.shapes, f"{line.ours * 1e3:.1f} ms", line.peer,
            f"{line.theirs * 1e3:.1f} ms", f"{line.ratio:.3f}",
            "–" if line.target is None else f"≤ {line.target:g}", line.verdict,
        )  # fmt: skip
        if line.note:
            table.add_row(f"[dim]{line.note}[/dim]")
    return table


def as_json(lines: list[Line]) -> dict[str, object]:
    """The lines with what they were measured on."""
    return {
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "lines": [asdict(line) | {"ratio": line.ratio, "verdict": line.verdict} for line in lines],
    }


if __name__ == "__main__":
    main()
