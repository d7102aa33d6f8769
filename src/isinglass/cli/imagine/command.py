"""``isinglass imagine``: fresh rows for a table or fresh images, and what is missing filled in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isinglass._support.optional import require_extra
from isinglass.cli import _tables
from isinglass.cli._common import ForceOption, JsonOption, Output, QuietOption
from isinglass.cli.imagine import options
from isinglass.errors import FileError, ParameterError

with require_extra("cli"):
    from rich.markup import escape

if TYPE_CHECKING:
    import numpy as np

    from isinglass.cli.imagine.source import Source
    from isinglass.integrations.sklearn import HopfieldBoltzmannMachine

__all__ = ["imagine"]


def imagine(
    data: options.Data,
    sample: options.Sample = None,
    impute: options.Impute = False,
    score: options.Score = False,
    out: options.Out = None,
    how: options.Fill = None,
    memories: options.Memories = None,
    covariance: options.Covariances = None,
    steps: options.Steps = None,
    starts: options.Starts = None,
    seed: options.Seed = 0,
    model: options.Model = None,
    refit: options.Refit = False,
    categorical: options.CategoricalColumns = None,
    numeric: options.NumericColumns = None,
    drop: options.DroppedColumns = None,
    header: _tables.Header = None,
    sep: _tables.Separator = None,
    decimal: _tables.DecimalMark = None,
    thousands: _tables.ThousandsMark = None,
    encoding: _tables.Encoding = None,
    na: _tables.UnknownWords = None,
    no_na: _tables.NoUnknownWords = False,
    unseen: options.UnseenCategories = options.Unseen.ERROR,
    image: options.Image = None,
    size: options.Size = None,
    curve: options.Curve = None,
    sheet: options.Sheet = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Learn a table or a folder of images; draw fresh ones, fill gaps, find the odd ones.

    Fits mixtures of memories by EM to the cells that are there, and weighs
    them by cells that were hidden. Samples and fillings are exact: no
    chains, no burn-in. Strings are categories, 0 and 1 bits, the rest
    numbers; empty cells are unknown.
    Names that are all different and dates are left out of the learning.
    Prints the likelihood of rows held out, beside columns taken independently.

    Examples:
        isinglass imagine patients.csv --impute --out whole.csv
        isinglass imagine patients.csv --sample 1000 --model patients.safetensors
        isinglass imagine patients.csv --score --out odd.csv
        isinglass imagine faces/ --size 32 --sample 64 --sheet faces.png
        isinglass imagine digits.npy --image 8x8 --impute --how draw
    """
    from isinglass.cli.imagine.fitting import fitted_machine, kept_machine, kinds_of, summary
    from isinglass.cli.imagine.scores import write_scores
    from isinglass.cli.imagine.source import read_source

    kinds = _kinds(categorical, numeric)
    _check_purpose(sample, impute, score)
    _check_idle(how, impute, refit, model)
    reading = _tables.reading_of(header, sep, decimal, thousands, encoding, na, no_na)
    wishes = _wishes(memories, covariance, steps, starts)
    kept = None if model is None or refit else kept_machine(model, kinds, wishes)
    source = read_source(
        data, image=image, size=size, kinds=kinds, drop=drop or [], reading=reading,
        fitted=None if kept is None else kinds_of(kept),
    )  # fmt: skip
    verb = "scored" if score else "imputed" if impute else "sampled"
    targets = _targets(source, out, curve, sheet, verb, force)

    output = Output(as_json, quiet)
    _say_source(output, source, impute)
    fitted = kept or fitted_machine(output, source, wishes, seed, model)
    fitted.handle_unknown = unseen.value
    output.say(summary(fitted))
    done = write_scores(output, source, fitted, targets, force) if score else None
    if not score:
        rows = _rows(source, fitted, sample, how, seed)
        _write(source, fitted, rows, targets, impute, force)
    _finish(output, source, fitted, targets, sample, done)


def _say_source(output: Output, source: Source, impute: bool) -> None:
    """Says how the rows were read."""
    if source.decided:
        output.say(f"{escape(str(source.path))}: {escape(source.decided)}.")
    for note in source.notes:
        output.warn(note)
    if impute and not source.unknown:
        output.warn("Nothing is unknown: the rows are written as they were")


def _wishes(
    memories: int | None,
    covariance: options.Covariance | None,
    steps: int | None,
    starts: int | None,
) -> dict[str, Any]:
    """Returns the options of the learning by their names; None is not told."""
    kind = None if covariance is None else covariance.value
    return {"--memories": memories, "--covariance": kind, "--steps": steps, "--starts": starts}


def _check_purpose(sample: int | None, impute: bool, score: bool) -> None:
    said = [name for name, asked in zip(
        ("--sample", "--impute", "--score"), (sample is not None, impute, score), strict=True
    ) if asked]  # fmt: skip
    if not said:
        raise ParameterError("what to do is not said", "Give --sample N, --impute or --score")
    if len(said) > 1:
        raise ParameterError(
            f"{' and '.join(said)}, which write a file each",
            "Run it again for each; --model FILE keeps the machine between",
        )  # fmt: skip


def _check_idle(how: options.How | None, impute: bool, refit: bool, model: Path | None) -> None:
    """Refuses options that would do nothing."""
    if how is not None and not impute:
        raise ParameterError(
            f"--how {how.value} without --impute, where nothing is filled",
            "Leave it out, or give --impute",
        )
    if refit and model is None:
        raise ParameterError(
            "--refit without --model, where every run fits anew",
            "Leave it out, or name the file with --model",
        )


def _targets(
    source: Source,
    out: Path | None,
    curve: Path | None,
    sheet: Path | None,
    verb: str,
    force: bool,
) -> list[Path]:
    """Returns the files to write: rows, the plot of learning, and for images the sheet."""
    from isinglass.data.table import check_table_name

    if verb == "scored":
        out = out or source.default_name(verb).with_suffix(".csv")
        check_table_name(f"writing {out}", out, (".csv",))
    else:
        out = out or source.default_name(verb)
        source.check_name(out)
    targets = [out, curve or out.with_name(f"{out.stem}-curve.png")]
    if source.shape is not None and verb != "scored":
        targets.append(sheet or out.with_name(f"{out.stem}-sheet.png"))
    elif sheet is not None:
        raise ParameterError("a sheet of rows", "Say what images they are: --image HxW")
    _check_targets(targets, force)
    return targets


def _kinds(categorical: list[str] | None, numeric: list[str] | None) -> dict[str, str]:
    for name in set(categorical or []) & set(numeric or []):
        raise ParameterError(f"--categorical {name} --numeric {name}", "Say one of them")
    return dict.fromkeys(categorical or [], "categorical") | dict.fromkeys(numeric or [], "numeric")


def _rows(
    source: Source,
    fitted: HopfieldBoltzmannMachine,
    sample: int | None,
    how: options.How | None,
    seed: int,
) -> Any:
    """Draws fresh rows if a number is given, else fills the source's."""
    if sample is None:
        return fitted.impute(source.rows, how=(how or options.How.MEAN).value, random_state=seed)
    return fitted.sample(sample, random_state=seed)


def _check_targets(targets: list[Path], force: bool) -> None:
    """Refuses before any work what could not be written after it.

    Raises:
        ParameterError: If a picture is of another kind, or two files have one name.
        FileError: If a file is there already, or its folder is not.
    """
    for path in targets[1:]:
        if path.suffix.lower() not in {".png", ".svg"}:
            raise ParameterError(
                "pictures are .png or .svg",
                f"Name it {path.with_suffix('.png')}",
                operation=f"writing {path}",
            )
    if len(set(targets)) < len(targets):
        raise ParameterError(f"{targets[0]} named twice", "Give each file its own name")
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


def _write(
    source: Source,
    fitted: HopfieldBoltzmannMachine,
    rows: Any,
    targets: list[Path],
    impute: bool,
    force: bool,
) -> None:
    """Writes the rows, the plot of learning, and the sheet of images."""
    import numpy as np

    from isinglass.cli._pictures import draw_curve, draw_sheet
    from isinglass.io.atomic import atomic_write

    with atomic_write(targets[0], overwrite=force) as aside:
        source.write(aside, rows, fitted.columns_, filled=impute)
    with atomic_write(targets[1], overwrite=force) as aside:
        draw_curve(aside, fitted)
    if len(targets) > 2 and source.shape is not None:
        pixels = _matrix(source.rows)
        bounds = float(np.nanmin(pixels)), float(np.nanmax(pixels))
        seen = pixels if impute else None
        with atomic_write(targets[2], overwrite=force) as aside:
            draw_sheet(aside, _matrix(rows), source.shape, bounds, seen)


def _matrix(rows: Any) -> np.ndarray:
    import numpy as np

    return np.column_stack(list(rows.values())) if isinstance(rows, dict) else rows


def _finish(
    output: Output,
    source: Source,
    fitted: HopfieldBoltzmannMachine,
    targets: list[Path],
    sample: int | None,
    done: str | None,
) -> None:
    """Prints what was done, as text or as JSON."""
    from isinglass.cli.imagine.fitting import kinds_of

    scored = done is not None
    cells = "1 unknown cell" if source.unknown == 1 else f"{source.unknown} unknown cells"
    counts = [(n, repr(w) if w else "empty") for w, n in source.words.most_common() if n]
    words = (
        escape(f" ({', '.join(f'{n} {word}' for n, word in counts)})") if any(source.words) else ""
    )
    done = done or (
        f"Filled {cells} of {source.count_in_words(source.count)}{words}"
        if sample is None
        else f"Drew {source.count_in_words(sample)}"
    )
    output.say(f"{done}: {', '.join(f'[bold]{path}[/bold]' for path in targets)}.")
    held_out = fitted.validation_scores_
    output.finish({
        "rows": source.count if sample is None else sample,
        "filled": source.unknown if sample is None and not scored else 0,
        "unknown": {word: count for word, count in source.words.items() if count},
        "read as": source.decided,
        "columns": kinds_of(fitted),
        "memories": fitted.n_memories_,
        "steps": fitted.n_iter_,
        "converged": fitted.converged_,
        "log-likelihood": fitted.log_likelihood_curve_[-1],
        "held-out log-likelihood": held_out and held_out[fitted.n_memories_],
        "written": targets,
    })  # fmt: skip
