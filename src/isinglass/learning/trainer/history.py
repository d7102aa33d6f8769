"""How a run of learning went: numbers for each epoch, as a table, a file and a picture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from isinglass._support.optional import require_extra
from isinglass._support.typing import Float
from isinglass.dynamics.diagnostics import diagnose
from isinglass.errors import MissingExtraError
from isinglass.io.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FitReport", "chain_health", "summary"]

MIXED = 1.1  # R-hat above which chains are not one: Gelman & Rubin 1992


@dataclass(frozen=True)
class FitReport:
    """Report of a run of :func:`~isinglass.learning.fit`.

    Attributes:
        history: One dictionary an epoch: ``"epoch"``, ``"loss"`` (its mean), ``"gradient norm"``
            (of the last step), a likelihood of training rows and of the validation rows, named
            by its method; ``"energy gap"``, by how much the energy of validation rows is higher
            than that of training rows, in units of T, which grows where a machine overfits;
            ``"R-hat"`` and ``"ESS"`` of the energies of the persistent chains over the epoch.
        stopped: Why it ended: ``"all epochs"``, ``"no better"`` or ``"resumed at the end"``.
        best_epoch: Whose weights the energy has, with ``patience``; else the last.

    Examples:
        >>> history = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5}]
        >>> report = FitReport(history, "all epochs", 2)
        >>> report["loss"]
        [2.0, 1.5]
        >>> history = [{"epoch": 1, "log-likelihood": -41.0}, {"epoch": 2, "log-likelihood": -75.0}]
        >>> print(FitReport([*history, {"epoch": 3, "R-hat": 1.4}], "all epochs", 3))
        all epochs: epoch 3, log-likelihood -75 (best -41), R-hat 1.4: the chains do not mix
    """

    history: list[dict[str, float]]
    stopped: str
    best_epoch: int

    def __getitem__(self, name: str) -> list[float]:
        """Returns one quantity over the epochs in which it was measured."""
        return [row[name] for row in self.history if name in row]

    def __str__(self) -> str:
        return f"{self.stopped}: {summary(self.history)}"

    def save_history(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes the history as JSON.

        Raises:
            FileError: If the file exists and ``overwrite`` is false, or cannot be written.
        """
        with atomic_write(path, overwrite=overwrite) as aside:
            aside.write_text(json.dumps(self.history, indent=1))

    def plot(self) -> Figure:
        """Plots the learning curve: likelihood, loss and gradient norm by epoch, and chain health.

        Raises:
            MissingExtraError: If matplotlib is not installed.
        """
        with require_extra("cli"):
            from matplotlib.figure import Figure
        names = {name for row in self.history for name in row} - {"epoch"}
        groups = [
            ("nats a row", sorted(name for name in names if "likelihood" in name)),
            ("nats", sorted(names & {"loss", "energy gap"})),
            ("gradient norm", sorted(names & {"gradient norm"})),
            ("R-hat of the chains", sorted(names & {"R-hat"})),
        ]
        shown = [(label, group) for label, group in groups if group]
        figure = Figure(figsize=(3.2 * len(shown), 2.6), layout="constrained")
        for axes, (label, group) in zip(
            figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True
        ):
            for name in group:
                rows = [row for row in self.history if name in row]
                axes.plot(
                    [row["epoch"] for row in rows], [row[name] for row in rows], ".-",
                    label=name, markersize=3, linewidth=1,
                )  # fmt: skip
            axes.set_xlabel("epoch")
            axes.set_ylabel(label)
            axes.spines[["top", "right"]].set_visible(False)
            if len(group) > 1:
                axes.legend(frameon=False, fontsize=7)
        return figure


def summary(history: list[dict[str, float]]) -> str:
    """Says where a run is: its scores, the best of each, chains that do not mix."""
    values: dict[str, list[float]] = {}
    for row in history:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    found = [f"epoch {values['epoch'][-1] if history else 0:g}"]
    for name, those in values.items():
        if "likelihood" in name:
            worse = f" (best {max(those):.4g})" if max(those) > those[-1] else ""
            found.append(f"{name} {those[-1]:.4g}{worse}")
    if "R-hat" in values and values["R-hat"][-1] > MIXED:
        found.append(f"R-hat {values['R-hat'][-1]:.3g}: the chains do not mix")
    return ", ".join(found)


def chain_health(energies: Float[Tensor, "draws chains"]) -> dict[str, float]:
    """Computes R-hat and bulk effective sample size of the energies of chains, with arviz."""
    try:
        found = diagnose(energies)
    except MissingExtraError:
        return {}
    return {"R-hat": found.r_hat[0], "ESS": found.bulk_size[0]}
