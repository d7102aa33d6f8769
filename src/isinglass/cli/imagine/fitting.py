"""The machine of ``isinglass imagine``: taken from a file or fitted now, and how good it is."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, TypeAlias

from isinglass._support.optional import require_extra
from isinglass.cli._common import Output
from isinglass.cli.imagine.source import Source
from isinglass.data.columns import kind_of
from isinglass.errors import ParameterError
from isinglass.integrations.sklearn import HopfieldBoltzmannMachine
from isinglass.integrations.sklearn._numbers import said_of_odd

with require_extra("cli"):
    from rich.table import Table
with require_extra("sklearn"):
    from sklearn.exceptions import ConvergenceWarning

__all__ = ["fitted_machine", "kept_machine", "kinds_of", "summary"]

#: With fewer rows nothing is held out.
FEWEST_ROWS = 10
#: Options of the learning, and what the estimator calls them.
SETTINGS = {
    "--memories": "n_memories", "--covariance": "covariance", "--steps": "max_iter",
    "--starts": "n_init",
}  # fmt: skip
#: More names of columns than this are not shown.
MOST_NAMES = 12
#: Log p of rows held out under the machine, and under independent columns.
Held: TypeAlias = tuple[float | None, float | None]


def kinds_of(fitted: HopfieldBoltzmannMachine) -> dict[str, str]:
    """Returns the kind of each column: "numeric", "binary" or "categorical"."""
    return {column.name: kind_of(column) for column in fitted.columns_.columns}


def kept_machine(
    path: Path, kinds: dict[str, str], wishes: dict[str, Any]
) -> HopfieldBoltzmannMachine | None:
    """Returns the machine in the file, or None if there is no file.

    Raises:
        ParameterError: If options ask for another machine than the one that is kept.
    """
    if not path.exists():
        return None
    fitted = HopfieldBoltzmannMachine.load(path)
    found = {name: getattr(fitted, setting) for name, setting in SETTINGS.items()}
    found |= {f"--{kind_of(column)} {column.name}": None for column in fitted.columns_.columns}
    asked = {name: wish for name, wish in wishes.items() if wish is not None}
    asked |= {f"--{kind} {name}": None for name, kind in kinds.items()}
    for name, wish in asked.items():
        if name not in found or found[name] != wish:
            raise ParameterError(
                f"{name} {wish}, which was fitted with {found[name]}" if name in found
                else f"{name}, which was not fitted so",
                f"Leave out {name.split()[0]}, or say --refit",
                operation=f"taking the machine of {path}",
            )  # fmt: skip
    return fitted


def fitted_machine(
    output: Output, source: Source, wishes: dict[str, Any], seed: int, path: Path | None
) -> HopfieldBoltzmannMachine:
    """Fits a machine, keep it in the file if one is named, and print how good it is."""
    settings: dict[str, Any] = {
        SETTINGS[name]: wish for name, wish in wishes.items() if wish is not None
    }
    settings |= {"columns": source.kinds, "random_state": seed}
    if source.shape is not None:  # pixels are many, and mixtures of spheres draw them well
        settings.setdefault("covariance", "spherical")
    _warn_of_names(output, source)
    output.say(f"Learning {source.count_in_words(source.count)} of {source.path} …")
    verbose = output.console.is_terminal and not output.console.quiet
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said below in the command's words
        warnings.filterwarnings("ignore", "n_memories='auto'|.*not learned from")
        fitted = HopfieldBoltzmannMachine(**settings, verbose=verbose).fit(source.rows)
        if fitted.odd_cells_:
            output.warn(said_of_odd(fitted.odd_cells_))
        if path is not None:  # before anything else, so that a later failure does not lose it
            fitted.save(path, overwrite=True)
            output.say(f"Kept the machine in [bold]{path}[/bold].")
        _print_likelihoods(output, source, fitted, settings)
    if not fitted.converged_:
        output.warn("Learning did not converge: allow more --steps")
    return fitted


def _warn_of_names(output: Output, source: Source) -> None:
    """Warns of columns of names that are nearly all different: they say nothing about others."""
    for name, cells in source.rows.items() if isinstance(source.rows, dict) else ():
        different = len(set(cells.tolist())) if cells.dtype == object else 0
        if different > max(20, len(cells) // 2):
            output.warn(
                f"Column {name!r} has {different} different names in {len(cells)} rows: if it "
                f"only numbers the rows, leave it out with --drop {name}"
            )


def _print_likelihoods(
    output: Output,
    source: Source,
    fitted: HopfieldBoltzmannMachine,
    settings: dict[str, Any],
) -> None:
    """Prints how likely rows are under the machine, beside independent columns."""
    held, rule = _held_out(source, fitted)
    table = Table(caption=f"Held out: {rule}", caption_justify="left")
    for column in ("log-likelihood, nats a row", "fitted", "held out"):
        table.add_column(column, justify="right" if table.columns else "left")
    single = dict(settings, n_memories=1, covariance="spherical")
    alone = HopfieldBoltzmannMachine(**single).fit(source.rows)
    for name, machine, score in zip(
        ("this machine", "columns independent"), (fitted, alone), held, strict=True
    ):
        table.add_row(
            f"{name}, {_memories(machine)}", f"{machine.score(source.rows):.4g}",
            "–" if score is None else f"{score:.4g}",
        )  # fmt: skip
    output.console.print(table)
    _warn_of_nothing_learned(output, source, fitted, held)


def _warn_of_nothing_learned(
    output: Output, source: Source, fitted: HopfieldBoltzmannMachine, held: Held
) -> None:
    """Warns where rows held out are no likelier than if columns were independent."""
    ours, alone = held
    if len(fitted.columns_.columns) < 2:
        return
    learned = fitted.stack_ is not None or fitted.n_memories_ > 1
    if learned and (alone is None or ours is None or ours > alone):
        return
    images = source.shape is not None
    less = "smaller images (--size 16)" if images else "fewer columns (--drop COLUMN)"
    output.warn(
        f"No better than independent {'pixels' if images else 'columns'} on rows held out: what is "
        f"drawn is noise, what is filled in the mean of its {'pixel' if images else 'column'}. "
        f"Give more {source.noun}s than {source.count}, or {less}; --memories "
        f"{max(2, source.count // 2)} learns these {source.noun}s by heart"
    )


def _held_out(source: Source, fitted: HopfieldBoltzmannMachine) -> tuple[Held, str]:
    """Returns held-out likelihoods of the machine and of independent columns, or why not."""
    rule = (
        "a fifth of the rows at a time, under machines of the others; the least likely twentieth "
        "left out; categories only there count as unknown"
    )
    scores = fitted.validation_scores_
    if scores:
        found = scores[fitted.n_memories_], scores.get(1)
        return found, f"{rule}. They chose the number of memories"
    if source.count < FEWEST_ROWS:
        return (None, None), f"none of fewer than {FEWEST_ROWS} rows"
    ours = fitted.held_out_score(source.rows)
    if ours is None:
        return (None, None), "the other rows do not do, they are fewer than the memories"
    return (ours, fitted.held_out_scores(source.rows, {1}).get(1)), rule


def summary(fitted: HopfieldBoltzmannMachine) -> str:
    """Returns the machine in a line, and what it took each column for."""
    kinds: dict[str, list[str]] = {}
    for column in fitted.columns_.columns:
        kinds.setdefault(kind_of(column), []).append(column.name)
    shown = (
        f"{len(names)} {kind}"
        + (f" ({', '.join(names)})" if kind != "numeric" and len(names) <= MOST_NAMES else "")
        for kind, names in kinds.items()
    )
    steps = "1 step" if fitted.n_iter_ == 1 else f"{fitted.n_iter_} steps"
    return f"{_memories(fitted)} after {steps}; columns: {', '.join(shown)}."


def _memories(fitted: HopfieldBoltzmannMachine) -> str:
    count = fitted.n_memories_
    words = "1 memory" if count == 1 else f"{count} memories"
    if fitted.stack_ is None:
        return words
    kinds = sorted({recipe.kind for recipe in fitted.stack_.recipes})
    mixtures = len(fitted.stack_.recipes)
    return f"{words} in {mixtures} mixture{'s' * (mixtures != 1)} ({', '.join(kinds)})"
