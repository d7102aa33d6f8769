"""Calls of memories, machines, units, kernels and learning, with arguments that do."""

from typing import Any

import torch

import isinglass as ig
from isinglass import learning
from isinglass.distributions import PatternMixture
from tests.fuzz.harness import Call

GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


SPINS, REALS, CUES = normal(5, 6).sign(), normal(5, 6), normal(3, 6, seed=1)
KNOWN = torch.arange(6).expand(3, 6) < 4
BITS, SEEN = (normal(20, 6) > 0).float(), torch.arange(6) < 3
MEMORIES = {
    "ModernHopfield": lambda: ig.ModernHopfield(REALS, 2.0),
    "SparseHopfield": lambda: ig.SparseHopfield(REALS, 2.0, 1.5),
    "SubsetHopfield": lambda: ig.SubsetHopfield(REALS, 2.0, 2),
}
MACHINES = {
    "RBM": lambda: ig.RBM(ig.Bernoulli(6), ig.Bernoulli(4), scale=0.5),
    "HopfieldBoltzmann": lambda: ig.HopfieldBoltzmann(ig.Bernoulli(6), 4),
    "HopfieldBoltzmann of numbers": lambda: ig.HopfieldBoltzmann(ig.Gaussian(6), 4),
    "DeepBoltzmann": lambda: ig.DeepBoltzmann([ig.Bernoulli(6), ig.Bernoulli(3), ig.Bernoulli(2)]),
    "BoltzmannMachine": lambda: ig.BoltzmannMachine(ig.Bernoulli(6), hidden=0, scale=0.5),
}


def _memories() -> list[Call]:
    scale: dict[str, Any] = {"beta": 1.0, "learn_beta": True, "constants": False, "copy": True}
    calls = [
        Call(
            "ClassicalHopfield", ig.ClassicalHopfield,
            {"patterns": SPINS, "rule": ig.energies.Hebb()},
        ),
        Call("DenseMemory", ig.DenseMemory, {"patterns": SPINS, "degree": 3, "rectified": True}),
        Call("DenseMemory", ig.DenseMemory, {"patterns": SPINS, "interaction": "exp"}),
        Call("ModernHopfield", ig.ModernHopfield, {"patterns": REALS, **scale}),
        Call("SparseHopfield", ig.SparseHopfield, {"patterns": REALS, "alpha": 1.5, **scale}),
        Call("SubsetHopfield", ig.SubsetHopfield, {"patterns": REALS, "subset": 2, **scale}),
        Call(
            "HeteroMemory",
            lambda patterns, values: ig.HeteroMemory(ig.ModernHopfield(patterns), values),
            {"patterns": REALS, "values": normal(5, 2)},
        ),
        Call(
            "HeteroMemory", ig.HeteroMemory,
            {"memory": MEMORIES["ModernHopfield"](), "values": REALS},
        ),
        Call(
            "DenseClassifier", ig.DenseClassifier,
            {"inputs": 5, "labels": 3, "memories": 4, "degree": 2, "mean": 0.0, "std": 0.1,
             "generator": GENERATOR},
        ),
    ]  # fmt: skip
    settings = {"max_steps": 3, "tolerance": 1e-3, "trace": True}
    for name, make in MEMORIES.items():
        memory = make()
        calls += [
            Call(f"{name}.recall", memory.recall, {"cues": CUES, "kernel": ig.CCCP(), **settings}),
            Call(f"{name}.recall", memory.recall, {"cues": CUES, "known": KNOWN, "max_steps": 3}),
            Call(f"{name}.complete", memory.complete, {"cues": CUES, "known": KNOWN}),
            Call(
                f"{name}.resemblance", memory.resemblance,
                {"cues": CUES, "known": KNOWN, "held_out": CUES},
            ),
        ]  # fmt: skip
    modern = MEMORIES["ModernHopfield"]()
    hetero = ig.HeteroMemory(modern, normal(5, 2))
    classical = ig.ClassicalHopfield(SPINS)
    dense = ig.DenseMemory(SPINS, 3)
    cues = CUES.sign()
    return [
        *calls,
        Call("ModernHopfield.build_index", modern.build_index, {"tolerance": 1e-4, "cells": 2}),
        Call("HeteroMemory.recall", hetero.recall, {"cues": CUES, "known": KNOWN}),
        Call("ClassicalHopfield.recall", classical.recall, {"cues": cues, **settings}),
        Call(
            "ClassicalHopfield.store", lambda patterns: ig.ClassicalHopfield(SPINS).store(patterns),
            {"patterns": SPINS},
        ),
        Call(
            "ClassicalHopfield.unlearn",
            lambda patterns: ig.ClassicalHopfield(SPINS).unlearn(patterns),
            {"patterns": SPINS},
        ),
        Call(
            "ClassicalHopfield.dream", classical.dream,
            {"steps": 2, "rate": 0.01, "generator": GENERATOR},
        ),
        Call(
            "DenseMemory.recall", dense.recall,
            {"cues": cues, "kernel": ig.SingleSite(), **settings},
        ),
        Call(
            "recall", ig.recall,
            {"energy": classical, "cues": cues, "kernel": ig.Asynchronous(), "max_steps": 2},
        ),
    ]  # fmt: skip


def _machines() -> list[Call]:
    drawn = {"scale": 0.1, "generator": GENERATOR}
    calls = [
        Call("RBM", ig.RBM, {"visible": ig.Spin(4), "hidden": ig.Bernoulli(3), **drawn}),
        Call(
            "Harmonium", ig.Harmonium,
            {"layers": [ig.Spin(2), ig.Spin(3)], "couplings": [(0, 1)], **drawn},
        ),
        Call(
            "DeepBoltzmann", ig.DeepBoltzmann,
            {"layers": [ig.Spin(2), ig.Spin(3), ig.Spin(2)], **drawn},
        ),
        Call(
            "HopfieldBoltzmann", ig.HopfieldBoltzmann,
            {"visible": ig.Gaussian(3), "memories": 4, "groups": 1, "draws": 1, "beta": 1.0,
            **drawn},
        ),
        Call(
            "HopfieldBoltzmann.from_patterns", ig.HopfieldBoltzmann.from_patterns,
            {"visible": ig.Spin(6), "patterns": SPINS, "beta": 0.5},
        ),
        Call(
            "BoltzmannMachine", ig.BoltzmannMachine,
            {"unit": ig.Spin(4), "couplings": torch.zeros(4, 4), "bias": torch.zeros(4),
            "hidden": 1, **drawn},
        ),
        Call(
            "BoltzmannMachine.ising",
            lambda rows, columns, **rest: ig.BoltzmannMachine.ising(rows, columns, **rest),
            {"rows": 4, "columns": 4, "coupling": 0.5, "field": 0.1},
        ),
        Call(
            "DeepEnergy", ig.DeepEnergy,
            {"module": torch.nn.Linear(3, 1), "size": 3, "width": 2.0},
        ),
        Call(
            "PatternMixture", lambda **arguments: PatternMixture(**arguments).unit,
            {"unit": ig.Spin(6), "keys": torch.zeros(5), "fields": REALS, "temperature": 1.0},
        ),
        *(Call(kind.__name__, kind, {"size": 3}) for kind in (ig.Spin, ig.Bernoulli, ig.Gaussian)),
        Call("Categorical", ig.Categorical, {"size": 6, "groups": 2}),
        Call("Multinomial", ig.Multinomial, {"size": 6, "draws": 2, "groups": 2}),
        Call("Mixed", ig.Mixed, {"parts": [ig.Spin(2), ig.Gaussian(1)]}),
    ]  # fmt: skip
    for name, make in MACHINES.items():
        machine = make()
        seen = REALS if name.endswith("numbers") else BITS
        calls.append(
            Call(f"{name}.sample", machine.sample, {"count": 3, "steps": 2, "generator": GENERATOR})
        )
        calls.append(
            Call(
                f"impute, {name}", ig.impute,
                {"energy": machine, "visible": seen, "observed": SEEN, "steps": 2,
                "temperature": 1.0, "generator": GENERATOR},
            )
        )  # fmt: skip
        if name.startswith("HopfieldBoltzmann"):
            calls.append(Call(f"{name}.log_prob", machine.log_prob, {"visible": seen}))
            calls.append(Call(f"{name}.conditional", lambda visible, observed,
            machine=machine: (law := machine.conditional(visible, observed), law.mean(),
            law.sample(GENERATOR)), {"visible": seen, "observed": SEEN}))  # fmt: skip
        if name != "DeepBoltzmann":
            calls.append(Call(f"{name}.free_energy", machine.free_energy, {"visible": seen}))
    return calls


def _samplers() -> list[Call]:
    start = normal(4, 6)
    modern = MEMORIES["ModernHopfield"]()
    run = {"energy": modern, "state": start, "steps": 2, "temperature": 1.0, "generator": GENERATOR}
    levels = {"temperature": 1.0, "chains": 4, "levels": 3, "generator": GENERATOR}
    return [
        Call(
            "log_partition", ig.log_partition,
            {"model": MACHINES["RBM"](), "method": "ais", "progress": lambda *_: None, **levels},
        ),
        *(
            Call(kind.__name__, kind, {"step_size": 0.1, "mass": torch.ones(6)})
            for kind in (ig.HMC, ig.MALA, ig.NUTS, ig.Langevin)
        ),
        Call("HMC", ig.HMC, {"step_size": 0.1, "leaps": 3, "jitter": 0.1}),
        Call("NUTS", ig.NUTS, {"step_size": 0.1, "doublings": 3, "jitter": 0.1}),
        *(
            Call(f"run {type(kernel).__name__}", ig.run, {"kernel": kernel, **run})
            for kernel in (ig.HMC(0.1), ig.MALA(0.1), ig.NUTS(0.1), ig.Langevin(0.1), )
        ),
        Call(
            "ReplicaExchange", ig.ReplicaExchange,
            {"energy": MACHINES["RBM"](), "levels": 3, "temperature": 1.0, "generator": GENERATOR},
        ),
        Call(
            "Annealing", ig.Annealing,
            {"chains": 2, "levels": 2, "greedy_chains": 2, "greedy_levels": 2,
             "greedy_sweeps": 0, "refinements": 1},
        ),
        Call("ClampedGibbs", ig.ClampedGibbs, {"observed": SEEN}),
    ]  # fmt: skip


def _learning() -> list[Call]:
    settings = {"epochs": 1, "batch_size": 5, "generator": GENERATOR}

    def em(**arguments: Any) -> Any:
        machine = ig.HopfieldBoltzmann(ig.Bernoulli(6), 3)
        return learning.expectation_maximization(machine, **arguments), machine

    def seeded(data: Any, generator: Any) -> Any:
        machine = ig.HopfieldBoltzmann(ig.Bernoulli(6), 3)
        learning.seed_memories(machine, data, generator)
        return machine

    def fitted(**arguments: Any) -> Any:
        machine = MACHINES["RBM"]()
        return learning.fit(machine, **arguments).history, machine

    return [
        Call(
            "expectation_maximization", em,
            {"data": BITS, "observed": BITS > -1, "steps": 2, "pseudo_count": 1.0},
        ),
        Call(
            "expectation_maximization", em,
            {"data": BITS, "scale": torch.ones(6), "learn_scale": False, "learn_beta": False,
             "tolerance": 1e-3},
        ),
        Call("seed_memories", seeded, {"data": BITS, "generator": GENERATOR}),
        Call("fit", fitted, {"data": BITS, **settings}),
        Call(
            "fit", fitted,
            {"data": BITS, "objective": learning.PersistentCD(1, 5), "centered": True, **settings},
        ),
        Call(
            "pseudo_log_likelihood", learning.pseudo_log_likelihood,
            {"energy": MACHINES["RBM"](), "visible": BITS, "sites": 2, "generator": GENERATOR},
        ),
        Call(
            "greedy_pretraining",
            lambda data, **rest: learning.greedy_pretraining(MACHINES["DeepBoltzmann"](), data,
            **rest),
            {"data": BITS, "epochs": 1, "batch_size": 5},
        ),
        Call("ContrastiveDivergence", learning.ContrastiveDivergence, {"steps": 1}),
        Call("PersistentCD", learning.PersistentCD, {"steps": 1, "chains": 4}),
        Call("TemperedPCD", learning.TemperedPCD, {"levels": 3, "steps": 1, "chains": 4}),
        Call("PseudoLikelihood", learning.PseudoLikelihood, {"sites": 2}),
        Call("DenoisingScoreMatching", learning.DenoisingScoreMatching, {"sigma": 0.1}),
        Call(
            "EnergyDiscrepancy", learning.EnergyDiscrepancy,
            {"noise": 0.1, "neighbors": 2, "stabilizer": 1.0},
        ),
        Call("SlicedScoreMatching", learning.SlicedScoreMatching, {"projections": 1}),
        Call(
            "Likelihood", learning.Likelihood,
            {"method": "auto", "every": 1, "rows": 10, "states": 10, "seed": 0},
        ),
    ]  # fmt: skip


def calls() -> list[Call]:
    """Returns calls of every room of energies, dynamics and learning."""
    return [*_memories(), *_machines(), *_samplers(), *_learning()]
