"""Block Gibbs on the Ising torus beside thrml.

thrml gets what its documentation and its examples do: two blocks of the checkerboard, all chains
by ``vmap``, the whole schedule compiled by ``jit``, states as booleans, and JAX's default random
numbers, which on a CPU were the fastest of those that JAX has. Its compilation is timed by itself.
Both take ten sweeps from where the last ones ended, at T_c.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import torch
from thrml import AbstractNode, Block, SamplingSchedule, SpinNode, sample_states
from thrml.models import IsingEBM, IsingSamplingProgram, hinton_init

from benchmarks.speed.harness import Line, compare
from isinglass import BlockGibbs, BoltzmannMachine, run

__all__ = ["lines"]

SWEEPS = 10
CRITICAL = 2.269185


def lines() -> list[Line]:
    """Large grids and small ones, many chains and one, and the first call."""
    return [*_grid(256, 64), *_grid(256, 1), *_grid(16, 64)]


def _grid(side: int, chains: int) -> list[Line]:
    started = time.perf_counter()
    theirs = _thrml(side, chains)
    theirs()
    first = time.perf_counter() - started
    started = time.perf_counter()
    machine = BoltzmannMachine.ising(side, side)
    state = torch.ones(chains, side * side)
    generator = torch.Generator().manual_seed(0)

    def own() -> None:
        nonlocal state
        state = machine.sweep(state, CRITICAL, generator, sweeps=SWEEPS)

    def by_steps() -> None:
        run(BlockGibbs(), machine, state, steps=SWEEPS, temperature=CRITICAL, generator=generator)

    own()
    mine = time.perf_counter() - started
    updates = SWEEPS * side * side * chains
    shapes = f"{side} × {side}, {chains} chain{'s' if chains > 1 else ''}, {SWEEPS} sweeps"
    line = compare(
        "Ising, sweep(sweeps=10)", own, theirs, peer="thrml", shapes=shapes, target=1.0,
        rounds=5, note=f"{updates:,} Gibbs updates",
    )  # fmt: skip
    stepped = compare(
        "Ising, run(BlockGibbs())", by_steps, theirs, peer="thrml", shapes=shapes, target=1.0,
        rounds=5,
    )  # fmt: skip
    begun = Line(
        "Ising, built, compiled, first call", shapes, "thrml", mine, first, None, line.threads
    )
    return [line, stepped, begun]


def _thrml(side: int, chains: int) -> Callable[[], object]:
    """Ten sweeps of all chains, compiled."""
    rows: list[list[AbstractNode]] = [[SpinNode() for _ in range(side)] for _ in range(side)]
    places = [(row, column) for row in range(side) for column in range(side)]
    nodes = [rows[row][column] for row, column in places]
    edges = [(rows[r][c], rows[(r + 1) % side][c]) for r, c in places]
    edges += [(rows[r][c], rows[r][(c + 1) % side]) for r, c in places]
    model = IsingEBM(
        nodes, edges, jax.numpy.zeros(len(nodes)), jax.numpy.ones(len(edges)),
        jax.numpy.array(1 / CRITICAL),
    )  # fmt: skip
    blocks: list[Any] = [
        Block([rows[r][c] for r, c in places if (r + c) % 2 == odd]) for odd in (0, 1)
    ]
    program = IsingSamplingProgram(model, blocks, clamped_blocks=[])
    schedule = SamplingSchedule(n_warmup=SWEEPS, n_samples=1, steps_per_sample=1)
    chain = jax.jit(
        jax.vmap(lambda key, start: sample_states(key, program, schedule, start, [], blocks))
    )
    key = jax.random.key(0)
    state = hinton_init(key, model, blocks, (chains,))

    def sweeps() -> None:
        nonlocal key, state
        key, mine = jax.random.split(key)
        drawn = chain(jax.random.split(mine, chains), state)
        state = jax.block_until_ready([block[:, 0] for block in drawn])

    return sweeps
