"""One entry for every unit kind, energy, kernel and path: the properties run over all of them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import isinglass as ig
from isinglass.core import Annealable, AnnealingPath, Serializable
from isinglass.dynamics import Kernel
from isinglass.energies import Exponential, SparseCouplings
from tests.seeds import seeded

# A new unit kind adds one line here. Continuous kinds have size 1, to be integrated.
UNITS: list[ig.Unit] = [
    ig.Spin(3),
    ig.Bernoulli(3),
    ig.Gaussian(1),
    ig.RectifiedGaussian(1),
    ig.Categorical(4),
    ig.Categorical(6, groups=2),
    ig.Multinomial(4, draws=3),
    ig.Multinomial(6, draws=2, groups=2),
    ig.Mixed([ig.Gaussian(1), ig.Bernoulli(1), ig.Categorical(4, groups=2)]),
    ig.Mixed([ig.Spin(1), ig.RectifiedGaussian(1)]),
]


def double(*shape: int, seed: int = 0, scale: float = 1.0, pinned: bool = False) -> Tensor:
    """Normal numbers in float64; pinned, the same in every set of seeds."""
    generator = torch.Generator().manual_seed(seed) if pinned else seeded(seed)
    return scale * torch.randn(*shape, dtype=torch.float64, generator=generator)


def spins(*shape: int, seed: int = 0, pinned: bool = False) -> Tensor:
    return double(*shape, seed=seed, pinned=pinned).sign()


def symmetric(units: int, components: int = 1, scale: float = 0.5) -> Tensor:
    """Random couplings of all units to all others."""
    half = double(units * components, units * components, seed=7, scale=scale)
    other = torch.block_diag(*[torch.ones(components, components)] * units) == 0
    return (half + half.mT) * other


def randomized(
    machine: ig.Harmonium, seed: int = 0, scale: float = 0.6, pinned: bool = False
) -> ig.Harmonium:
    """A machine in float64 with random weights and biases."""
    machine = machine.double()
    for number, parameter in enumerate(machine.parameters()):
        seeds = {"seed": 100 * seed + number, "pinned": pinned}
        parameter.data = double(*parameter.shape, scale=scale, **seeds)
    return machine


@dataclass(frozen=True)
class EnergyCase:
    """An energy, states to try it on, and the kernels that move it.

    ``states`` may be any real states where the energy is defined; ``legal`` are states its units
    can take.
    """

    name: str
    build: Callable[[], ig.Energy]
    states: Callable[[], Tensor]
    legal: Callable[[], Tensor]
    kernels: tuple[Callable[[], Kernel], ...] = ()

    def __str__(self) -> str:
        return self.name


def _rbm() -> ig.RBM:
    machine = randomized(ig.RBM(ig.Bernoulli(4), ig.Bernoulli(3)))
    assert isinstance(machine, ig.RBM)
    return machine


def hopfield_boltzmann(
    visible: ig.Unit, memories: int = 3, groups: int = 1, draws: int = 1, beta: float = 0.7
) -> ig.HopfieldBoltzmann:
    machine = randomized(ig.HopfieldBoltzmann(visible, memories, groups, draws, beta=beta))
    assert isinstance(machine, ig.HopfieldBoltzmann)
    return machine


def deep() -> ig.Harmonium:
    return randomized(
        ig.Harmonium([ig.Bernoulli(3), ig.Spin(2), ig.Bernoulli(2)], [(0, 1), (1, 2)])
    )


def deep_boltzmann() -> ig.DeepBoltzmann:
    machine = randomized(ig.DeepBoltzmann([ig.Bernoulli(3), ig.Spin(2), ig.Bernoulli(2)]))
    assert isinstance(machine, ig.DeepBoltzmann)
    return machine


class Bumps(Serializable, ig.DeepEnergy):
    """A small network, the same each time, that can be saved because it has a name."""

    def __init__(self, size: int) -> None:
        layers = torch.nn.Linear(size, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)
        super().__init__(torch.nn.Sequential(*layers), size)
        for number, parameter in enumerate(self.double().parameters()):
            parameter.data = double(*parameter.shape, seed=number, scale=1.5)

    def config(self) -> dict[str, int]:
        return {"size": self.size}


def random_site() -> Kernel:
    return ig.SingleSite(seeded(5))


ONE_OF_THREE = torch.eye(3, dtype=torch.float64)

ENERGIES = [
    EnergyCase(
        "ClassicalHopfield",
        lambda: ig.ClassicalHopfield(spins(3, 12, seed=1)),
        lambda: double(5, 12, seed=2),
        lambda: spins(16, 12, seed=3),
        (ig.Asynchronous, ig.SingleSite, random_site, ig.CCCP),
    ),
    EnergyCase(
        "DenseMemory",
        lambda: ig.DenseMemory(spins(6, 8, seed=1), degree=3),
        lambda: double(5, 8, seed=2),
        lambda: spins(16, 8, seed=3),
        (ig.SingleSite, random_site, ig.CCCP),
    ),
    EnergyCase(
        "DenseMemory of even degree",
        lambda: ig.DenseMemory(spins(6, 8, seed=1), degree=4, rectified=False),
        lambda: double(5, 8, seed=2),
        lambda: spins(16, 8, seed=3),
        (ig.SingleSite, ig.CCCP),
    ),
    EnergyCase(
        "DenseMemory, exponential",
        lambda: ig.DenseMemory(spins(6, 8, seed=1), interaction=Exponential(beta=0.6)),
        lambda: double(5, 8, seed=2),
        lambda: spins(16, 8, seed=3),
        (ig.SingleSite, random_site, ig.CCCP),
    ),
    EnergyCase(
        "DenseClassifier",
        lambda: ig.DenseClassifier(5, 3, 4, degree=4, std=0.5, generator=seeded()).double(),
        lambda: double(5, 8, seed=2),
        lambda: double(16, 8, seed=3),
    ),
    EnergyCase(
        "ModernHopfield",
        lambda: ig.ModernHopfield(double(4, 3, seed=1), beta=2.0),
        lambda: double(5, 3, seed=2),
        lambda: double(16, 3, seed=3),
        (ig.CCCP, ig.BlockGibbs, ig.MALA, ig.HMC),
    ),
    EnergyCase(
        "ModernHopfield, learned",
        lambda: ig.ModernHopfield(torch.nn.Parameter(double(4, 3, seed=1)), beta=2.0),
        lambda: double(5, 3, seed=2),
        lambda: double(16, 3, seed=3),
        (ig.CCCP,),
    ),
    EnergyCase(
        "ModernHopfield, β learned, with constants",
        lambda: ig.ModernHopfield(double(4, 3, seed=1), 2.0, learn_beta=True, constants=True),
        lambda: double(5, 3, seed=2),
        lambda: double(16, 3, seed=3),
        (ig.CCCP,),
    ),
    *(
        EnergyCase(
            f"SparseHopfield of α = {alpha}",
            lambda alpha=alpha: ig.SparseHopfield(double(6, 3, seed=1), 1.5, alpha),
            lambda: double(5, 3, seed=2),
            lambda: double(16, 3, seed=3),
            (ig.CCCP,),
        )
        for alpha in (1.0, 1.5, 1.7, 2.0, 3.0)
    ),
    *(
        EnergyCase(
            f"SubsetHopfield of {subset}",
            lambda subset=subset: ig.SubsetHopfield(
                torch.nn.Parameter(double(6, 3, seed=1)), 1.5, subset, constants=True
            ),
            lambda: double(5, 3, seed=2),
            lambda: double(16, 3, seed=3),
            (ig.CCCP,),
        )
        for subset in (1, 2, 5, 6)
    ),
    EnergyCase(
        "HeteroMemory",
        lambda: ig.HeteroMemory(
            ig.SparseHopfield(double(4, 3, seed=1), 2.0, learn_beta=True), double(4, 2)
        ),
        lambda: double(5, 3, seed=2),
        lambda: double(16, 3, seed=3),
        (ig.CCCP,),
    ),
    EnergyCase(
        "RBM", _rbm, lambda: double(5, 7), lambda: double(16, 7).gt(0).double(), (ig.BlockGibbs,)
    ),
    EnergyCase(
        "Marginal of an RBM",
        lambda: _rbm().marginal(0.8),
        lambda: double(5, 4),
        lambda: double(16, 4).gt(0).double(),
        (ig.CCCP,),
    ),
    EnergyCase(
        "Marginal of a Hopfield–Boltzmann machine of spins",
        lambda: hopfield_boltzmann(ig.Spin(5), groups=2).marginal(),
        lambda: double(5, 5),
        lambda: spins(16, 5),
        (ig.CCCP,),
    ),
    EnergyCase(
        "Marginal of an RBM of Gaussian visible units",
        lambda: randomized(ig.RBM(ig.Gaussian(3), ig.Bernoulli(4))).marginal(0.8),
        lambda: double(5, 3),
        lambda: double(16, 3),
        (ig.CCCP, ig.MALA, ig.HMC),
    ),
    EnergyCase(
        "DeepEnergy", lambda: Bumps(3), lambda: double(5, 3), lambda: double(16, 3),
        (ig.MALA, ig.HMC),
    ),
    EnergyCase(
        "HopfieldBoltzmann",
        lambda: hopfield_boltzmann(ig.Gaussian(2), groups=2),
        lambda: double(5, 8).abs(),
        lambda: torch.cat([double(16, 2), ONE_OF_THREE[torch.arange(32) % 3].reshape(16, 6)], -1),
        (ig.BlockGibbs,),
    ),
    EnergyCase(
        "Harmonium of three layers", deep, lambda: double(5, 7),
        lambda: torch.cat(
            [double(16, 3).gt(0).double(), spins(16, 2), double(16, 2, seed=4).gt(0).double()], -1
        ),
        (ig.BlockGibbs,),
    ),
    EnergyCase(
        "DeepBoltzmann", deep_boltzmann, lambda: double(5, 7),
        lambda: torch.cat(
            [double(16, 3).gt(0).double(), spins(16, 2), double(16, 2, seed=4).gt(0).double()], -1
        ),
        (ig.BlockGibbs,),
    ),
    EnergyCase(
        "HopfieldBoltzmann of mixed columns",
        lambda: hopfield_boltzmann(
            ig.Mixed([ig.Gaussian(2), ig.Bernoulli(1), ig.Categorical(3)]), groups=2
        ),
        lambda: double(5, 12).abs(),
        lambda: torch.cat(
            [double(16, 2), double(16, 1).gt(0).double(),
             ONE_OF_THREE[torch.arange(48) % 3].reshape(16, 9)], -1
        ),
        (ig.BlockGibbs,),
    ),
    EnergyCase(
        "BoltzmannMachine of spins, all joined",
        lambda: ig.BoltzmannMachine(ig.Spin(8), symmetric(8), double(8)),
        lambda: double(5, 8),
        lambda: spins(16, 8),
        (ig.BlockGibbs, ig.Asynchronous, ig.SingleSite, random_site, ig.SwendsenWang),
    ),
    EnergyCase(
        "BoltzmannMachine of bits, three hidden",
        lambda: ig.BoltzmannMachine(ig.Bernoulli(7), symmetric(7), double(7), hidden=3),
        lambda: double(5, 7),
        lambda: double(16, 7).gt(0).double(),
        (ig.BlockGibbs, ig.Asynchronous, ig.SingleSite, ig.SwendsenWang),
    ),
    EnergyCase(
        "Ising torus",
        lambda: ig.BoltzmannMachine.ising(4, 6, coupling=0.7, field=0.1).double(),
        lambda: double(5, 24),
        lambda: spins(16, 24),
        (ig.BlockGibbs, ig.Asynchronous, ig.SingleSite, ig.SwendsenWang),
    ),
    EnergyCase(
        "Potts grid",
        lambda: ig.BoltzmannMachine.potts(2, 3, states=3, field=[0.1, -0.2, 0.0]).double(),
        lambda: double(5, 18),
        lambda: ONE_OF_THREE[torch.arange(96) % 7 % 3].reshape(16, 18),
        (ig.BlockGibbs,),
    ),
    EnergyCase(
        "BoltzmannMachine along edges",
        lambda: ig.BoltzmannMachine(
            ig.Spin(5), SparseCouplings(5, [(0, 1), (1, 2), (2, 0), (3, 2)], double(4)), double(5)
        ),
        lambda: double(5, 5),
        lambda: spins(16, 5),
        (ig.BlockGibbs, ig.Asynchronous, ig.SingleSite, ig.SwendsenWang),
    ),
]  # fmt: skip


@dataclass(frozen=True)
class PathCase:
    """An annealing path of an energy with few states, and what its weights look at."""

    name: str
    build: Callable[[], tuple[AnnealingPath, ig.Energy]]
    states: Callable[[], Tensor]
    temperature: float = 1.0
    weighed: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return self.name


def _path_of(energy: Annealable, temperature: float) -> tuple[AnnealingPath, ig.Energy]:
    return energy.path(temperature), energy


def _sevens() -> ig.BoltzmannMachine:
    return ig.BoltzmannMachine(ig.Bernoulli(5), symmetric(5), double(5), hidden=2)


# A path that is new adds one entry here.
PATHS = [
    PathCase(
        "HarmoniumPath of an RBM",
        lambda: _path_of(randomized(ig.RBM(ig.Spin(2), ig.Categorical(3))), 0.7),
        lambda: ig.Mixed([ig.Spin(2), ig.Categorical(3)]).enumerate_states(),
        0.7,
        (0, 1),
    ),
    PathCase(
        "HarmoniumPath of three layers",
        lambda: _path_of(deep(), 1.3),
        lambda: deep().enumerate_states(),
        1.3,
        (3, 4),
    ),
    PathCase(
        "BoltzmannPath of bits, two hidden",
        lambda: _path_of(_sevens(), 0.9),
        lambda: ig.Bernoulli(5).enumerate_states(),
        0.9,
    ),
    PathCase(
        "BoltzmannPath of a Potts grid",
        lambda: _path_of(
            ig.BoltzmannMachine.potts(1, 3, states=3, field=[0.1, -0.2, 0]).double(), 1.1
        ),
        lambda: ig.Categorical(9, groups=3).enumerate_states(),
        1.1,
    ),
    PathCase(
        "DrawCountPath",
        lambda: _path_of(hopfield_boltzmann(ig.Spin(3), draws=3), 1 / 2.1),
        lambda: hopfield_boltzmann(ig.Spin(3), draws=3).enumerate_states(),
        1 / 2.1,
        (0, 1, 2),
    ),
]
