"""Quadratic problems of bits and spins, in and out: QUBO, Ising, Max-Cut, and their files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from isinglass._support.validation import check_count
from isinglass.core.energy import Energy
from isinglass.core.kernel import FieldEnergy
from isinglass.dynamics._spin_walkers import list_pairs
from isinglass.energies.pairwise.boltzmann_machine import BoltzmannMachine
from isinglass.energies.pairwise.couplings import Couplings
from isinglass.energies.pairwise.dense_couplings import DenseCouplings
from isinglass.energies.pairwise.sparse_couplings import SparseCouplings
from isinglass.errors import DomainError, FileError, IntractableError, ParameterError, ShapeError
from isinglass.units import Bernoulli, Spin, Unit

__all__ = [
    "from_ising", "from_qubo", "max_cut", "read_gset", "read_qubo", "to_ising", "to_qubo"
]  # fmt: skip

#: Share of all pairs from which couplings are a matrix, and units that one may have.
DENSE, LARGEST = 0.25, 2**13

Terms = dict[tuple[int, int], float]


def from_qubo(
    qubo: Mapping[tuple[int, int], float] | Tensor | Any,
    *,
    size: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> BoltzmannMachine:
    r"""Builds the machine of bits whose energy is a quadratic form: E(x) = Σ_ij q_ij x_i x_j.

    As x² = x, the diagonal is the bias with its sign turned. There is no constant: energies are
    those of the form, to the bit where sums are exact in ``dtype``.

    Reference: Lucas 2014, doi:10.3389/fphy.2014.00005 (problems written so).

    Args:
        qubo: q: a dictionary ``{(i, j): q}``, a matrix ``(size, size)`` of torch or numpy, or a
            sparse one of scipy. Every number counts: those of (i, j) and (j, i) are added.
        size: How many bits there are; None is as many as are named, or the rows of a matrix.
        dtype: Of the machine.

    Raises:
        ParameterError: If a bit is not numbered from 0, or beyond ``size``.
        ShapeError: If a matrix is not square.
        DomainError: If a number is not finite.

    Examples:
        >>> machine = from_qubo({(0, 0): -1.0, (1, 1): -1.0, (0, 1): 3.0})
        >>> machine(torch.tensor([[1.0, 0], [1, 1]]).double()).tolist()
        [-1.0, 1.0]
    """
    terms, count = _terms(qubo, size, "q")
    bias = torch.zeros(count, dtype=torch.float64)
    for (one, other), value in terms.items():
        if one == other:
            bias[one] = -value
    pairs = {pair: -value for pair, value in terms.items() if pair[0] != pair[1]}
    return _machine(Bernoulli(count), pairs, bias, dtype)


def to_qubo(energy: Energy) -> tuple[Terms, float]:
    r"""Writes an energy of two-state units in pairs as E(s) = Σ_ij q_ij x_i x_j + offset.

    x is one where a unit is in its upper state, so of spins x = (1 + s)/2. Temperature and
    hidden units do not enter: hidden ones are bits like all others.

    Args:
        energy: A :class:`~isinglass.BoltzmannMachine` or
            :class:`~isinglass.ClassicalHopfield` of spins or bits.

    Returns:
        The dictionary ``{(i, j): q}``, i ≤ j, each diagonal term in it; and the offset.

    Raises:
        IntractableError: If units have more than two states, or are not joined in pairs.

    Examples:
        >>> import isinglass as ig
        >>> to_qubo(ig.BoltzmannMachine(ig.Spin(2), torch.tensor([[0.0, 1.0], [1.0, 0.0]])))
        ({(0, 0): 2.0, (1, 1): 2.0, (0, 1): -4.0}, -1.0)
    """
    return _written(energy, (0.0, 1.0))


def from_ising(
    h: Mapping[int, float] | Sequence[float] | Tensor | Any,
    coupling: Mapping[tuple[int, int], float] | Tensor | Any,
    *,
    dtype: torch.dtype = torch.float64,
) -> BoltzmannMachine:
    r"""Builds the machine of spins with E(s) = Σ_i h_i s_i + Σ_ij J_ij s_i s_j, s = ±1.

    The signs are those of dimod: a spin likes to be down where h is above zero, and a pair to
    differ where J is. Couplings and bias of the machine are −J and −h.

    Args:
        h: A dictionary ``{i: h}``, or one number a spin.
        coupling: J: a dictionary ``{(i, j): J}``, or a matrix whose every number counts.
        dtype: Of the machine.

    Raises:
        ParameterError: If a spin is not numbered from 0, or joined to itself.
        ShapeError: If a matrix is not square, or has another size than h.
        DomainError: If a number is not finite.

    Examples:
        >>> machine = from_ising({0: 0.5}, {(0, 1): -1.0})
        >>> machine(torch.tensor([[1.0, 1], [-1, -1], [1, -1]]).double()).tolist()
        [-0.5, -1.5, 1.5]
    """
    if isinstance(h, Mapping):
        fields, named = {_number(spin, None): float(value) for spin, value in h.items()}, None
    else:
        fields = dict(enumerate(np.asarray(h, dtype=np.float64).reshape(-1).tolist()))
        named = len(fields)
    least = 1 + max(fields, default=0)
    terms, count = _terms(coupling, named, "J")
    count = named or max(count, least)
    itself = [pair for pair in terms if pair[0] == pair[1] and terms[pair] != 0]
    if itself:
        raise ParameterError(
            f"a coupling of spin {itself[0][0]} to itself", "Leave it out: s² is one"
        )
    bias = torch.zeros(count, dtype=torch.float64)
    for spin, value in fields.items():
        _check_finite("h", value)
        bias[spin] = -value
    pairs = {pair: -value for pair, value in terms.items() if pair[0] != pair[1]}
    return _machine(Spin(count), pairs, bias, dtype)


def to_ising(energy: Energy) -> tuple[dict[int, float], Terms, float]:
    r"""Writes an energy of two-state units in pairs as Σ_i h_i s_i + Σ_ij J_ij s_i s_j + offset.

    s is ±1 for the upper and the lower state: of bits s = 2x − 1. The signs are those of dimod.

    Args:
        energy: A :class:`~isinglass.BoltzmannMachine` or
            :class:`~isinglass.ClassicalHopfield` of spins or bits.

    Returns:
        ``{i: h}``, ``{(i, j): J}`` with i < j, and the offset.

    Raises:
        IntractableError: If units have more than two states, or are not joined in pairs.

    Examples:
        >>> to_ising(from_qubo({(0, 0): 4.0, (0, 1): -4.0}))
        ({0: 1.0, 1: -1.0}, {(0, 1): -1.0}, 1.0)
    """
    terms, offset = _written(energy, (-1.0, 1.0))
    fields = {one: value for (one, other), value in terms.items() if one == other}
    return fields, {pair: value for pair, value in terms.items() if pair[0] != pair[1]}, offset


def max_cut(
    edges: Iterable[Sequence[int]],
    weights: float | Sequence[float] | np.ndarray | Tensor = 1.0,
    *,
    size: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> BoltzmannMachine:
    r"""Builds the machine of bits whose energy is minus a cut: E(x) = −Σ_ij w_ij [x_i ≠ x_j].

    Reference: Barahona et al. 1988, doi:10.1287/opre.36.3.493.

    Args:
        edges: Pairs of vertices, numbered from 0.
        weights: w, one number for all edges or one for each.
        size: How many vertices there are; None is as many as are named.
        dtype: Of the machine.

    Raises:
        ParameterError: If a vertex is not numbered from 0, or beyond ``size``.
        ShapeError: If there is not one weight an edge.
        DomainError: If a weight is not finite.

    Examples:
        >>> square = max_cut([(0, 1), (1, 2), (2, 3), (3, 0)])
        >>> square(torch.tensor([1.0, 0, 1, 0]).double()).item()
        -4.0
    """
    listed = [tuple(edge) for edge in edges]
    if wrong := [edge for edge in listed if len(edge) != 2]:
        raise ShapeError(f"an edge {wrong[0]}", "Give pairs of vertices, and weights= beside them")
    pairs = [(one, other) for one, other in listed]
    values = np.asarray(weights, dtype=np.float64)
    if values.shape not in {(), (len(pairs),)}:
        raise ShapeError(
            f"weights of shape {values.shape} for {len(pairs)} edges",
            "Give one number, or one for each edge",
        )
    terms: Terms = {}
    for (one, other), weight in zip(pairs, np.broadcast_to(values, len(pairs)), strict=True):
        for pair, value in (((one, one), -1), ((other, other), -1), ((one, other), 2)):
            terms[pair] = terms.get(pair, 0.0) + value * float(weight)
    return from_qubo(terms, size=size, dtype=dtype)


def read_qubo(path: str | PathLike[str], *, dtype: torch.dtype = torch.float64) -> BoltzmannMachine:
    r"""Reads a problem in the format ``.qubo`` of qbsolv: a line ``p``, then ``i j q`` a line.

    Args:
        path: The file. Lines that begin with ``c`` say nothing.
        dtype: Of the machine.

    Raises:
        FileError: If the file is not there, a line is no such line, or terms are missing.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "pair.qubo")
        ...     _ = path.write_text("c two bits\np qubo 0 2 1 1\n0 0 -1.5\n0 1 2\n")
        ...     read_qubo(path)(torch.ones(2).double()).item()
        0.5
    """
    terms: Terms = {}
    size, promised, found = None, [0, 0], [0, 0]  # terms of one bit, and of two
    for number, words in _lines(path, comments=("c",)):
        if words[0] == "p":
            if size is not None or len(words) != 6 or words[1] != "qubo":
                raise _wrong(path, number, "p qubo topology bits diagonal couplers")
            size, *promised = (int(value) for value in _numbers(path, number, words[3:]))
            continue
        if size is None or len(words) != 3:
            raise _wrong(path, number, "i j q, after the line p")
        one, other, value = _numbers(path, number, words)
        if not (0 <= one < size and 0 <= other < size and one % 1 == other % 1 == 0):
            raise _wrong(path, number, f"two of the {size} bits, numbered from 0")
        pair = (int(one), int(other))
        found[one != other] += 1
        terms[pair] = terms.get(pair, 0.0) + value
    if size is None:
        raise FileError(f"{path} has no line p", "Give a file of the format .qubo")
    if found != promised:
        raise FileError(
            f"{path} has {found[0]} bits and {found[1]} couplers, and promises {promised[0]} and "
            f"{promised[1]}",
            "Give the whole file",
        )
    return from_qubo(terms, size=size, dtype=dtype)


def read_gset(path: str | PathLike[str], *, dtype: torch.dtype = torch.float64) -> BoltzmannMachine:
    r"""Reads a Max-Cut problem of the Gset: a line ``vertices edges``, then ``i j w`` a line.

    The energy is minus the cut, as of :func:`max_cut`.

    Reference: Helmberg & Rendl 2000, doi:10.1137/S1052623497328987.

    Args:
        path: The file; its vertices are numbered from 1. A line without w has weight 1.
        dtype: Of the machine.

    Raises:
        FileError: If the file is not there, a line is no such line, or edges are missing.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "path.txt")
        ...     _ = path.write_text("3 2\n1 2 1\n2 3 1\n")
        ...     read_gset(path)(torch.tensor([0.0, 1, 0]).double()).item()
        -2.0
    """
    lines = list(_lines(path))
    if not lines or len(lines[0][1]) != 2:
        raise FileError(f"{path} does not begin with two numbers", "Give a file of the Gset")
    size, count = (int(n) for n in _numbers(path, lines[0][0], lines[0][1]))
    if len(lines) - 1 != count:
        raise FileError(f"{path} has {len(lines) - 1} edges of {count}", "Give the whole file")
    edges, weights = [], []
    for number, words in lines[1:]:
        found = _numbers(path, number, words)
        inside = len(found) in (2, 3) and all(1 <= n <= size and n % 1 == 0 for n in found[:2])
        if not inside:
            raise _wrong(path, number, f"two of the {size} vertices, numbered from 1, and a weight")
        edges.append((int(found[0]) - 1, int(found[1]) - 1))
        weights.append(found[2] if len(found) == 3 else 1.0)
    return max_cut(edges, weights, size=size, dtype=dtype)


def _terms(given: Any, size: int | None, name: str) -> tuple[Terms, int]:
    """The terms that are given, i ≤ j, and how many variables there are."""
    if isinstance(given, Mapping):
        try:
            listed = [(one, other, value) for (one, other), value in given.items()]
        except (TypeError, ValueError):
            listed = [(None, None, 0.0)]
    else:
        listed, rows = _entries(given, name)
        if size is not None and size != rows:
            raise ShapeError(f"{name} of {rows} rows for {size} variables", "Give as many rows")
        size = rows
    terms: Terms = {}
    for one, other, value in listed:
        ends = _number(one, size), _number(other, size)
        pair = (min(ends), max(ends))
        terms[pair] = terms.get(pair, 0.0) + float(value)
        _check_finite(name, terms[pair])
    named = 1 + max((pair[1] for pair in terms), default=0)
    return terms, named if size is None else check_count("size", size)


def _entries(given: Any, name: str) -> tuple[list[tuple[int, int, float]], int]:
    """The numbers of a matrix of torch, numpy or scipy that are not zero, and its rows."""
    if hasattr(given, "tocoo"):
        sparse = given.tocoo()
        rows, columns, values, shape = sparse.row, sparse.col, sparse.data, sparse.shape
    else:
        matrix = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
        shape = matrix.shape
        if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
            raise ShapeError(
                f"{name} of shape {shape} and dtype {matrix.dtype}",
                "Give a square matrix of numbers, or a dictionary {(i, j): number}",
            )
        rows, columns = np.nonzero(matrix)
        values = matrix[rows, columns]
    if shape[0] != shape[1]:
        raise ShapeError(f"{name} of shape {tuple(shape)}", "Give a square matrix")
    return list(zip(rows.tolist(), columns.tolist(), values.tolist(), strict=True)), shape[0]


def _number(variable: Any, size: int | None) -> int:
    whole = isinstance(variable, int | np.integer) and not isinstance(variable, bool)
    if not whole or variable < 0 or (size is not None and variable >= size):
        raise ParameterError(
            f"a variable {str(variable)[:40]!r}" + ("" if size is None else f" of {size}"),
            "Number variables from 0",
        )
    return int(variable)


def _check_finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise DomainError(f"{name} = {value}", "Give finite numbers")


def _machine(unit: Unit, pairs: Terms, bias: Tensor, dtype: torch.dtype) -> BoltzmannMachine:
    """A machine with these couplings, as a matrix where they are many."""
    count = unit.size
    couplings: Couplings
    if count == 1 or (count <= LARGEST and len(pairs) > DENSE * count * (count - 1) / 2):
        weight = torch.zeros(count, count, dtype=torch.float64)
        for (one, other), value in pairs.items():
            weight[one, other] = weight[other, one] = value
        couplings = DenseCouplings.of(weight)
    else:
        pairs = pairs or {(0, 1): 0.0}
        couplings = SparseCouplings(
            count, list(pairs), torch.tensor(list(pairs.values()), dtype=torch.float64)
        )
    if not dtype.is_floating_point:
        raise DomainError(f"dtype = {dtype}", "Give a floating dtype, such as torch.float64")
    most = max([float(bias.abs().amax()) if len(bias) else 0.0, *map(abs, pairs.values())])
    if most > torch.finfo(dtype).max:
        raise DomainError(f"numbers up to {most:.3g}, beyond {dtype}", "Give dtype=torch.float64")
    return BoltzmannMachine(unit, couplings, bias).to(dtype)


@torch.no_grad()
def _written(energy: Energy, states: tuple[float, float]) -> tuple[Terms, float]:
    """The terms of an energy in variables of other states, linear ones on the diagonal; offset.

    With s = a + cy, −W s_i s_j is −c² W y_i y_j − acW (y_i + y_j) − a² W.
    """
    found = list_pairs(energy)
    if found is None:
        raise IntractableError(
            f"{type(energy).__name__} is no energy of two-state units joined in pairs",
            "Give a BoltzmannMachine or a ClassicalHopfield of spins or bits",
        )
    pairs, strength = found
    unit = cast("FieldEnergy", energy).unit
    low, high = unit.two_states or (0.0, 1.0)
    scale = (high - low) / (states[1] - states[0])
    shift = low - scale * states[0]
    zeros = torch.zeros(1, unit.size, dtype=strength.dtype, device=strength.device)
    bias = cast("FieldEnergy", energy).local_field(zeros)[0].double().cpu()
    strength, pairs = strength.double().cpu(), pairs.cpu()
    felt = torch.zeros_like(bias)
    for end in (0, 1):
        felt.index_add_(0, pairs[:, end], strength)
    linear = -scale * (bias + shift * felt)
    terms: Terms = {(unit, unit): value for unit, value in enumerate(linear.tolist())}
    for (one, other), value in zip(pairs.tolist(), strength.tolist(), strict=True):
        pair = (min(one, other), max(one, other))
        terms[pair] = terms.get(pair, 0.0) - scale**2 * value
    offset = -(shift**2) * strength.sum() - shift * bias.sum()
    return terms, float(offset)


def _lines(
    path: str | PathLike[str], comments: tuple[str, ...] = ()
) -> list[tuple[int, list[str]]]:
    """The words of every line that says something, with its number."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path} cannot be read: {error}", "Give the path of a text file") from None
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1)]
    return [(number, words) for number, words in lines if words and words[0] not in comments]


def _numbers(path: str | PathLike[str], number: int, words: list[str]) -> list[float]:
    try:
        found = [float(word) for word in words]
    except ValueError:
        found = [math.nan]
    if not all(math.isfinite(value) for value in found):
        raise _wrong(path, number, "numbers")
    return found


def _wrong(path: str | PathLike[str], number: int, wanted: str) -> FileError:
    return FileError(f"line {number} of {path} is wrong", f"Give {wanted}")
