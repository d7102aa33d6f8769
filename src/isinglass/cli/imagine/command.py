"""``isinglass imagine``: fresh rows for a table or fresh images, and what is missing filled in."""

from __future__ import annotations

import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from isinglass._support.optional import require_extra
from isinglass.cli._common import LARGEST_SEED
from isinglass.data.columns import CategoricalColumn, kind_of
from isinglass.errors import DomainError, FileError, ParameterError
from isinglass.io.atomic import atomic_write

with require_extra("cli"):
    import typer
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

if TYPE_CHECKING:
    from isinglass.cli.imagine.source import Source
    from isinglass.integrations.sklearn import HopfieldBoltzmannMachine

__all__ = ["imagine"]

#: With fewer rows nothing is held out.
FEWEST_ROWS = 10
#: Options of the learning, and what the estimator calls them.
SETTINGS = {"--memories": "n_memories", "--steps": "max_iter", "--starts": "n_init"}
#: More names of columns than this are not shown.
MOST_NAMES = 12


class How(StrEnum):
    """How an unknown cell is filled."""

    MEAN = "mean"
    MODE = "mode"
    DRAW = "draw"


class Unseen(StrEnum):
    """What a new category is."""

    ERROR = "error"
    MISSING = "missing"


def imagine(
    data: Annotated[
        list[Path],
        typer.Argument(
            help="A table (.csv, .npy, .npz), or images: files, folders, arrays (n, h, w)."
        ),
    ],
    sample: Annotated[
        int | None, typer.Option(min=1, help="Draw so many fresh rows or images.")
    ] = None,
    impute: Annotated[
        bool, typer.Option("--impute", help="Fill the unknown cells or transparent pixels.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the rows go: a .csv for a .csv, else .npy or .npz.",
            show_default="DATA-sampled or DATA-imputed",
        ),
    ] = None,
    how: Annotated[
        How, typer.Option(help="Fill a cell by its mean, the likeliest row, or a draw.")
    ] = How.MEAN,
    memories: Annotated[
        int | None,
        typer.Option(min=1, help="How many memories.", show_default="chosen on rows held out"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Most steps of learning.", show_default="200")
    ] = None,
    starts: Annotated[
        int | None,
        typer.Option(min=1, help="Starts to choose the best of.", show_default="1"),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of everything random.")
    ] = 0,
    model: Annotated[
        Path | None,
        typer.Option(help="Keep the fitted machine in this .safetensors; use it if it is there."),
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Fit anew even if --model is there, and replace it.")
    ] = False,
    categorical: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Numbers that are names. Repeatable.")
    ] = None,
    numeric: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Zeros and ones that are numbers. Repeatable."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Leave a column out. Repeatable.")
    ] = None,
    na: Annotated[
        list[str] | None,
        typer.Option(metavar="TOKEN", help="What stands for an unknown cell. Repeatable."),
    ] = None,
    unseen: Annotated[
        Unseen, typer.Option(help="What a category is that --model has not seen.")
    ] = Unseen.ERROR,
    image: Annotated[
        str | None, typer.Option(metavar="HxW", help="The rows of the table are images, 28x28.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=2, max=512, help="Height to bring images to.", show_default="the first's"),
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option(
            help="Where the plot of learning goes: .png or .svg.", show_default="beside --out"
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Where the sheet of images goes, a .png.", show_default="beside --out"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite rows, plot and sheet.")] = False,
) -> None:
    """Learn a table or a folder of images; draw fresh ones, or fill what is missing.

    Fits a Hopfield–Boltzmann machine by EM to the cells that are there. Its
    samples and fillings are exact: no chains, no burn-in. Strings are
    categories, 0 and 1 bits, the rest numbers; empty cells are unknown.
    Names that are all different and dates are left out of the learning.
    Prints the likelihood of rows held out, beside columns taken independently.

        isinglass imagine patients.csv --impute --out whole.csv

        isinglass imagine patients.csv --sample 1000 --model patients.safetensors

        isinglass imagine faces/ --size 32 --sample 64 --sheet faces.png

        isinglass imagine digits.npy --image 8x8 --impute --how draw
    """
    from isinglass.cli.imagine.source import read_source

    if sample is None and not impute:
        raise ParameterError("what to do is not said", "Give --sample N or --impute")
    if sample is not None and impute:
        raise ParameterError(
            "--sample and --impute, which write a file each",
            "Run it twice; --model FILE keeps the machine between",
        )  # fmt: skip
    wishes = {"--memories": memories, "--steps": steps, "--starts": starts}
    kinds = _kinds(categorical, numeric)
    fitted = None if model is None or refit else _kept(model, kinds, wishes)
    if fitted is not None:
        kinds = {
            c.name: "categorical" for c in fitted.columns_.columns if type(c) is CategoricalColumn
        }
    source = read_source(
        data, image=image, size=size, kinds=kinds, drop=drop or [], unknown=na or [],
        fitted=None if fitted is None else fitted.columns_.names,
    )  # fmt: skip
    verb = "imputed" if impute else "sampled"
    out = out or source.default_name(verb)
    source.check_name(out)
    targets = [out, curve or out.with_name(f"{out.stem}-curve.png")]
    if source.shape is not None:
        targets.append(sheet or out.with_name(f"{out.stem}-sheet.png"))
    elif sheet is not None:
        raise ParameterError("a sheet of rows", "Say what images they are: --image HxW")
    _check_targets(targets, force)

    console = Console()
    for note in source.notes:
        console.print(f"[yellow]{escape(note)}.[/yellow]", highlight=False, soft_wrap=True)
    if fitted is None:
        settings = {SETTINGS[name]: wish for name, wish in wishes.items() if wish is not None}
        settings |= {"columns": source.kinds, "random_state": seed}
        fitted = _fit(console, source, settings, model)
    fitted.handle_unknown = unseen.value
    console.print(_said(fitted), highlight=False, soft_wrap=True)
    rows = (
        fitted.impute(source.rows, how=how.value, random_state=seed)
        if impute
        else fitted.sample(sample or 1, random_state=seed)
    )
    with atomic_write(out, overwrite=force) as aside:
        source.write(aside, rows, fitted.columns_, filled=impute)
    _draw(source, fitted, rows, targets, impute, force)
    cells = "1 unknown cell" if source.unknown == 1 else f"{source.unknown} unknown cells"
    done = (
        f"Filled {cells} of {source.counted(source.count)}"
        if impute
        else f"Drew {source.counted(sample or 1)}"
    )
    wrote = ", ".join(f"[bold]{path}[/bold]" for path in targets)
    console.print(f"{done}: {wrote}.", highlight=False, soft_wrap=True)


def _kinds(categorical: list[str] | None, numeric: list[str] | None) -> dict[str, str]:
    for name in set(categorical or []) & set(numeric or []):
        raise ParameterError(f"--categorical {name} --numeric {name}", "Say one of them")
    return dict.fromkeys(categorical or [], "categorical") | dict.fromkeys(numeric or [], "numeric")


def _check_targets(targets: list[Path], force: bool) -> None:
    """Refuse before any work what could not be written after it."""
    for path in targets[1:]:
        if path.suffix.lower() not in {".png", ".svg"}:
            raise FileError(
                "pictures are .png or .svg",
                f"Name it {path.with_suffix('.png')}",
                operation=f"writing {path}",
            )
    if len(set(targets)) < len(targets):
        raise FileError(f"{targets[0]} named twice", "Give each file its own name")
    for path in targets:
        if path.exists() and not force:
            raise FileError(
                "the file exists already",
                "Choose another, or allow it: --force",
                operation=f"writing {path}",
            )
        if not path.resolve().parent.is_dir():
            raise FileError(
                "its folder is not there", "Create the folder first", operation=f"writing {path}"
            )


def _kept(
    path: Path, kinds: dict[str, str], wishes: dict[str, int | None]
) -> HopfieldBoltzmannMachine | None:
    """The machine in the file, if it is there; its learning is done, and can only be agreed to."""
    from isinglass.integrations.sklearn import HopfieldBoltzmannMachine

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
                f"Leave out {name.split()[0]}, or say --refit", operation=f"taking the machine of {path}",
            )  # fmt: skip
    return fitted


def _fit(
    console: Console, source: Source, settings: dict[str, Any], path: Path | None
) -> HopfieldBoltzmannMachine:
    """A machine fitted now, kept in the file if there is one, and how good it is."""
    from isinglass.integrations.sklearn import HopfieldBoltzmannMachine

    _warn(console, source)
    console.print(
        f"Learning {source.counted(source.count)} of {source.path} …",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    with require_extra("sklearn"):
        from sklearn.exceptions import ConvergenceWarning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said below in the command's words
        fitted = HopfieldBoltzmannMachine(**settings, verbose=console.is_terminal).fit(source.rows)
        if path is not None:  # before anything else, so that a later failure does not lose it
            fitted.save(path, overwrite=True)
            console.print(
                f"Kept the machine in [bold]{path}[/bold].", highlight=False, soft_wrap=True
            )
        _report(console, source, fitted, settings)
    if not fitted.converged_:
        console.print("[yellow]Learning did not come to rest: allow more --steps.[/yellow]")
    return fitted


def _warn(console: Console, source: Source) -> None:
    """Columns of names that are nearly all different say nothing about others."""
    for name, cells in source.rows.items() if isinstance(source.rows, dict) else ():
        different = len(set(cells.tolist())) if cells.dtype == object else 0
        if different > max(20, len(cells) // 2):
            console.print(
                f"[yellow]Column {name!r} has {different} different names in {len(cells)} rows: "
                f"if it only numbers the rows, leave it out with --drop {name}.[/yellow]",
                highlight=False, soft_wrap=True,
            )  # fmt: skip


def _report(
    console: Console,
    source: Source,
    fitted: HopfieldBoltzmannMachine,
    settings: dict[str, Any],
) -> None:
    """How likely rows are that such a machine has not seen, beside columns by themselves."""
    from isinglass.integrations.sklearn import HopfieldBoltzmannMachine

    held, rule = _held_out(source, fitted, settings)
    table = Table(caption=f"Held out: {rule}", caption_justify="left")
    for column in ("log-likelihood, nats a row", "fitted", "held out"):
        table.add_column(column, justify="right" if table.columns else "left")
    alone = HopfieldBoltzmannMachine(**dict(settings, n_memories=1)).fit(source.rows)
    for name, machine in (("this machine", fitted), ("columns independent", alone)):
        score = held.get(machine.n_memories_)
        table.add_row(
            f"{name}, {_memories(machine)}", f"{machine.score(source.rows):.4g}",
            "–" if score is None else f"{score:.4g}",
        )  # fmt: skip
    console.print(table)


def _held_out(
    source: Source, fitted: HopfieldBoltzmannMachine, settings: dict[str, Any]
) -> tuple[dict[int, float], str]:
    """Likelihoods of rows held out, by number of memories, and what they are; or why not."""
    from isinglass.integrations.sklearn import HopfieldBoltzmannMachine

    rule = (
        "a fifth of the rows, under machines of the others; categories only there count as unknown"
    )
    if fitted.validation_scores_:
        return fitted.validation_scores_, f"{rule}. They chose the number of memories"
    if source.count < FEWEST_ROWS:
        return {}, f"none of fewer than {FEWEST_ROWS} rows"
    train, held = (source.take(index) for index in source.split(settings["random_state"]))
    told: dict[str, Any] = {
        "columns": {column.name: kind_of(column) for column in fitted.columns_.columns},
        "handle_unknown": "missing",
    }
    scores: dict[int, float] = {}
    for count in {1, fitted.n_memories_}:
        half = HopfieldBoltzmannMachine(**dict(settings | told, n_memories=count))
        try:
            scores[count] = half.fit(train).score(held)
        except (DomainError, ParameterError) as error:  # no cell of a column, or too few rows
            return {}, f"the other rows do not do, {error.operation}: {error.found}"
    return scores, rule


def _said(fitted: HopfieldBoltzmannMachine) -> str:
    """The machine, and what it took each column for."""
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
    return "1 memory" if fitted.n_memories_ == 1 else f"{fitted.n_memories_} memories"


def _draw(
    source: Source,
    fitted: HopfieldBoltzmannMachine,
    rows: Any,
    targets: list[Path],
    impute: bool,
    force: bool,
) -> None:
    """The plot of learning, and the sheet of images."""
    from isinglass.cli._pictures import draw_curve, draw_sheet

    with atomic_write(targets[1], overwrite=force) as aside:
        draw_curve(aside, fitted)
    if len(targets) > 2 and source.shape is not None:
        pixels = _matrix(source.rows)
        bounds = float(np.nanmin(pixels)), float(np.nanmax(pixels))
        seen = pixels if impute else None
        with atomic_write(targets[2], overwrite=force) as aside:
            draw_sheet(aside, _matrix(rows), source.shape, bounds, seen)


def _matrix(rows: Any) -> np.ndarray:
    return np.column_stack(list(rows.values())) if isinstance(rows, dict) else rows
