"""Draw the pictures of the documentation: ``python -m benchmarks.pictures [topic …]``.

Each module of this folder has a function ``draw()`` that returns figures by file name; they
become ``docs/pictures/<name>.svg``.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from pathlib import Path

import matplotlib as mpl
import torch
from cycler import cycler

import benchmarks.pictures
from isinglass._support.palette import SERIES

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
MODULES = pkgutil.iter_modules(benchmarks.pictures.__path__)
TOPICS = sorted(module.name for module in MODULES if module.name != "__main__")


def main() -> None:
    """Draw the topics named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("topics", nargs="*", help=f"which of {' '.join(TOPICS)}; all if none")
    given = parser.parse_args()
    if unknown := set(given.topics) - set(TOPICS):
        parser.error(f"no topic {' '.join(unknown)}: there are {' '.join(TOPICS)}")
    mpl.use("svg")
    mpl.rcParams |= {
        "svg.hashsalt": "isinglass",  # the same picture is the same file
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.h_pad": 0.08,
        "figure.constrained_layout.w_pad": 0.08,
        "axes.prop_cycle": cycler(color=[color for color, _, _ in SERIES]),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 9,
        "savefig.bbox": "tight",  # titles lie inside the frame
        "savefig.pad_inches": 0.06,
    }
    FOLDER.mkdir(exist_ok=True)
    for topic in given.topics or TOPICS:
        torch.manual_seed(0)
        for name, figure in importlib.import_module(f"benchmarks.pictures.{topic}").draw().items():
            path = FOLDER / f"{name}.svg"
            figure.savefig(path, metadata={"Date": None})
            print(path)


if __name__ == "__main__":
    main()
