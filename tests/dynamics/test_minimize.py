"""Ground states: found where all states can be listed, and local minima everywhere."""

import math

import pytest
import torch

import isinglass as ig
from isinglass.dynamics._spin_walkers import DenseSpins, SparseSpins, SpinPairs, spin_walkers
from isinglass.dynamics._walkers import KernelWalkers
from isinglass.dynamics.minimize import METHODS, _cool, _drawn, _Ladders
from isinglass.energies import SparseCouplings
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.testing import check_stationary, sampling_error
from tests.cases import ENERGIES, double, randomized, spins, symmetric
from tests.energies.pairwise.machines import MACHINES, machine, machines
from tests.seeds import seeded

TWO_STATES = [name for name in MACHINES if machine(name).unit.two_states is not None]


def sparse(size: int = 40, seed: int = 0) -> ig.BoltzmannMachine:
    """A ring of spins with chords and fields: several colors, rows of unequal lengths."""
    edges = [(i, (i + 1) % size) for i in range(size)]
    edges += [(i, (i * i + 7) % size) for i in range(0, size, 3)]
    edges = sorted({(min(e), max(e)) for e in edges if e[0] != e[1]})
    weight = double(len(edges), seed=seed)
    return ig.BoltzmannMachine(
        ig.Spin(size), SparseCouplings(size, edges, weight), 0.3 * double(size, seed=seed + 1)
    )


def glass(size: int = 12, seed: int = 3) -> ig.BoltzmannMachine:
    half = double(size, size, seed=seed).triu(1)
    return ig.BoltzmannMachine(ig.Spin(size), half + half.mT, double(size, seed=seed + 1))


def least(energy: ig.BoltzmannMachine) -> float:
    with torch.no_grad():
        return float(energy.energy_at(energy.unit.enumerate_states(), 0.0).min())


@machines
@pytest.mark.parametrize("method", [m for m in METHODS if m != "descent"])
def test_the_ground_state_is_that_of_the_list_of_all_states(name, method):
    energy = machine(name).double()
    found = ig.minimize(energy, method, runs=40, sweeps=30, generator=seeded())
    assert math.isclose(found.energy, least(energy), abs_tol=1e-9)
    with torch.no_grad():
        torch.testing.assert_close(found.energies, energy.energy_at(found.states, 0.0))
    assert found.energy == float(found.energies.min())
    assert torch.equal(found.state, found.states[found.energies.argmin()])


def changed_by_one_unit(energy: ig.Energy, state: torch.Tensor) -> torch.Tensor:
    """All states that differ in one discrete unit: the plain loop."""
    others, first = [], 0
    for layer in energy.layers:
        for part, count in [(layer, layer.count)]:
            if part.support is not None:
                continue
            kinds = part.with_count(1).enumerate_states(0.0).to(state)
            width = kinds.shape[-1]
            for unit in range(count):
                for kind in kinds:
                    other = state.clone()
                    other[first + unit * width : first + (unit + 1) * width] = kind
                    others.append(other)
        first += layer.size
    return torch.stack(others)


DISCRETE = [
    lambda: sparse(),
    lambda: glass(30),
    lambda: ig.BoltzmannMachine(ig.Bernoulli(9), symmetric(9), double(9), hidden=2),
    lambda: ig.BoltzmannMachine.potts(3, 3, states=3, field=[0.1, -0.2, 0.0]).double(),
    lambda: randomized(ig.RBM(ig.Bernoulli(6), ig.Spin(4))),
    lambda: randomized(ig.RBM(ig.Categorical(6, groups=2), ig.Bernoulli(4))),
    lambda: ig.ClassicalHopfield(spins(3, 20)),
    lambda: ig.DenseMemory(spins(3, 12), 3),
]


@pytest.mark.parametrize("build", DISCRETE)
@pytest.mark.parametrize("method", METHODS)
def test_every_run_ends_where_no_change_of_one_unit_helps(build, method):
    energy = build()
    found = ig.minimize(energy, method, runs=24, sweeps=8, generator=seeded())
    with torch.no_grad():
        for state, here in zip(found.states, found.energies, strict=True):
            near = energy.energy_at(changed_by_one_unit(energy, state), 0.0)
            assert (near >= here - 1e-12 * near.abs().max()).all()


@pytest.mark.parametrize("case", ENERGIES, ids=str)
def test_an_energy_is_minimized_or_refused_by_name(case):
    energy = case.build()
    real = not energy.layers or all(layer.support is not None for layer in energy.layers)
    if real or isinstance(energy, ig.Marginal):  # which has no conditionals
        with pytest.raises(IntractableError, match="given the others"):
            ig.minimize(energy, "descent", runs=3, generator=seeded())
        return
    found = ig.minimize(energy, "descent", runs=3, generator=seeded())
    assert found.energies.isfinite().all()


class Swept(ig.dynamics.Memoryless):
    """The sweep of the fast runs, as a kernel."""

    leaves_invariant = True

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def transition(self, energy, state, temperature, generator):
        pairs = SpinPairs.of(energy)
        assert pairs is not None
        if self.kind is DenseSpins:
            walkers = DenseSpins(pairs, state)
        else:
            colors = energy.couplings.colors()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
            walkers = SparseSpins(pairs, state, [color.tolist() for color in colors])
        walkers.sweep(torch.full((len(state),), temperature), generator)
        return walkers.states()


@pytest.mark.parametrize("name", TWO_STATES)
@pytest.mark.parametrize("kind", [DenseSpins, SparseSpins])
def test_fast_sweeps_keep_the_exact_distribution(name, kind, generator):
    energy = machine(name)
    states = energy.unit.enumerate_states()
    for dtype in (torch.float64, torch.float32):
        energy, rows = energy.to(dtype), states.to(dtype)
        with torch.no_grad():
            weights = -energy(rows).double() / 0.8
        check_stationary(
            Swept(kind), energy, rows, weights, 0.8, generator, samples=20_000, steps=1
        )


@pytest.mark.parametrize("build", [sparse, glass])
def test_fast_runs_are_what_they_stand_for(build):
    """Energies, costs, order of the units, choice of runs: beside the energy itself."""
    energy = build()
    state = energy.unit.sample(double(7, energy.unit.size), 1.0, seeded())
    walkers = spin_walkers(energy, state)
    assert isinstance(walkers, SparseSpins if build is sparse else DenseSpins)
    torch.testing.assert_close(walkers.states(), state)
    with torch.no_grad():
        apart = walkers.energy() - energy(state)
        torch.testing.assert_close(apart, apart[:1].expand(7))
        flips = energy(state[0] * (1 - 2 * torch.eye(len(state[0])).double())) - energy(state[0])
        torch.testing.assert_close(
            walkers.costs(None).reshape(-1, 7)[:, 0].sort().values, flips.sort().values
        )
        some = torch.tensor([2, 2, 0, 1, 6, 5, 3])
        walkers.select(some)
        torch.testing.assert_close(walkers.states(), state[some])
        torch.testing.assert_close(walkers.states(torch.tensor([1])), state[2:3])
        apart = walkers.energy() - energy(state[some])
        torch.testing.assert_close(apart, apart[:1].expand(7))


def test_carried_fields_do_not_drift():
    """A hundred sweeps after any error fields are those of the spins again."""
    energy = glass(30).float()
    walkers = spin_walkers(energy, spins(20, 30).float())
    assert isinstance(walkers, DenseSpins)
    walkers._field += 1.0
    for _ in range(100):
        walkers.sweep(torch.full((20,), 5.0), seeded())
    torch.testing.assert_close(walkers._field, walkers._feel(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "build", [lambda e, s: spin_walkers(e, s), lambda e, s: KernelWalkers(e, s, ig.BlockGibbs())]
)
def test_each_run_has_a_temperature_of_its_own(build, generator):
    """Free spins in a field: hot rows are at their means, cold ones all up."""
    energy = ig.BoltzmannMachine(ig.Spin(50), torch.zeros(50, 50), torch.ones(1))
    walkers = build(energy, -torch.ones(400, 50))
    walkers.sweep(torch.tensor([2.0, 0.01]).repeat(200), generator)
    states = walkers.states()
    assert (states[1::2] == 1).all()
    mean = math.tanh(0.5)
    bound = sampling_error(torch.tensor(1 - mean**2), torch.tensor(2.0), 200 * 50)
    assert abs(float(states[::2].mean()) - mean) < bound


def test_the_unit_of_energy_does_not_matter():
    """Everything is scaled by 2^20: the same noise makes the same states, to the bit."""
    for build in (sparse, glass):
        energy, large = build(), build()
        for parameter in large.parameters():
            parameter.data *= 2.0**20
        for method in METHODS:
            found, scaled = (
                ig.minimize(e, method, runs=20, sweeps=20, generator=seeded(2))
                for e in (energy, large)
            )
            assert torch.equal(found.states, scaled.states)
            torch.testing.assert_close(found.temperatures * 2.0**20, scaled.temperatures)


class Stays(ig.dynamics.Memoryless):
    """Moves nothing, so that only what happens between sweeps is seen."""

    def transition(self, energy, state, temperature, generator):
        return state


def drawn_at(energy, temperature: float, count: int, generator) -> torch.Tensor:
    states = energy.unit.enumerate_states()
    weights = torch.softmax(-energy(states) / temperature, 0)
    return states[weights.multinomial(count, replacement=True, generator=generator)]


@torch.no_grad()
def test_resampling_leads_from_one_temperature_to_the_next(generator):
    energy, runs = glass(6), 40_000
    walkers = KernelWalkers(energy, drawn_at(energy, 6.0, runs, generator), Stays())
    _cool(walkers, torch.tensor([6.0, 4.0]), 2, True, lambda *_: None, generator)
    states = energy.unit.enumerate_states()
    wanted = torch.softmax(-energy(states) / 4.0, 0)
    before = torch.softmax(-energy(states) / 6.0, 0)
    shares = torch.stack([(walkers.states() == s).all(-1).double().mean() for s in states])
    # The share of a state is (w/W) n/N: n is binomial, the comb adds less than one, W is a mean.
    ratio = wanted / before
    spread = 2 * ratio.square() * before + 2 * wanted.square() * (before * ratio.square()).sum()
    assert ((shares - wanted).abs() <= 5 * (spread / runs).sqrt() + 2 * ratio / runs).all()


def test_a_comb_draws_each_as_often_as_its_weight_says(generator):
    weights = torch.softmax(double(50), 0)
    counts = torch.bincount(_drawn(weights, generator), minlength=50)
    assert counts.sum() == 50
    assert ((counts - 50 * weights).abs() < 1 + 1e-9).all()


@torch.no_grad()
def test_trades_keep_the_distribution_at_every_temperature(generator):
    energy, ladders = glass(5), 20_000
    schedule = torch.tensor([9.0, 6.0, 4.0]).double()
    rows = [drawn_at(energy, float(t), ladders, generator) for t in schedule]
    walkers = KernelWalkers(energy, torch.stack(rows, 1).flatten(0, 1), Stays())
    exchange = _Ladders(walkers, schedule, generator)
    exchange.run(5, lambda *_: None)
    states = energy.unit.enumerate_states()
    assert (exchange._place != torch.arange(3 * ladders).reshape(-1, 3)).any(
        -1
    ).double().mean() > 0.5
    for level, temperature in enumerate(schedule.tolist()):
        here = walkers.states()[exchange._place[:, level]]
        shares = torch.stack([(here == s).all(-1).double().mean() for s in states])
        wanted = torch.softmax(-energy(states) / temperature, 0)
        bound = sampling_error(wanted * (1 - wanted), torch.ones_like(wanted), ladders)
        assert ((shares - wanted).abs() <= bound).all()


@torch.no_grad()
def test_a_ladder_hands_back_the_best_that_it_met(generator):
    """A chain that leaves the ground state for good: it is what is found all the same."""

    class Climbs(ig.dynamics.Memoryless):
        def transition(self, energy, state, temperature, generator):
            return torch.ones_like(state)  # of an antiferromagnet, the worst

    ring = ig.BoltzmannMachine.ising(6, coupling=-1.0)
    best = torch.tensor([1.0, -1.0]).repeat(3)
    found = ig.minimize(
        ring, "exchange", runs=8, sweeps=3, starts=best[None], kernel=Climbs(),
        temperatures=[2.0, 1.5, 1.0], generator=generator,
    )  # fmt: skip
    assert found.energy == -6
    assert found.hits == len(found.energies) == 2


def test_starts_are_begun_with_and_left_alone():
    ring = ig.BoltzmannMachine.ising(8)
    starts = torch.ones(2, 8)
    starts[0] = -1.0
    found = ig.minimize(ring, "descent", runs=5, starts=starts)
    assert torch.equal(found.states, starts[torch.tensor([0, 1, 0, 1, 0])])
    for method in METHODS:
        hot = ig.minimize(ring, method, runs=16, sweeps=3, starts=starts, temperatures=[9.0, 9.0])
        assert (hot.states != hot.states[0]).any() or method in ("descent", "exchange")
        assert torch.equal(starts[:, 0], torch.tensor([-1.0, 1.0]))
    memory = ig.DenseMemory(spins(2, 8).float())
    ig.minimize(memory, "exchange", runs=16, sweeps=2, starts=starts)
    assert (starts[1] == 1).all()


def test_temperatures_and_report():
    energy = glass()
    found = ig.minimize(energy, "annealing", runs=4, sweeps=10, temperatures=(5.0, 0.05))
    torch.testing.assert_close(
        found.temperatures, torch.logspace(math.log10(5), math.log10(0.05), 10).double()
    )
    given = torch.tensor([3.0, 2.0, 1.0])
    found = ig.minimize(energy, runs=4, sweeps=10, temperatures=given)
    assert torch.equal(found.temperatures, given.double())
    assert "of population" in str(found)
    assert "T from 3 to 1" in str(found)
    assert "T from" not in str(ig.minimize(energy, "descent", runs=4))
    constant = ig.BoltzmannMachine(ig.Spin(4), torch.zeros(4, 4))
    assert ig.minimize(constant, runs=4, sweeps=3).energy == 0


def test_the_same_generator_finds_the_same():
    for build in DISCRETE[:5]:
        one, other = (
            ig.minimize(build(), runs=10, sweeps=5, generator=seeded(4)) for _ in range(2)
        )
        assert torch.equal(one.states, other.states)


def test_progress_rises_to_one():
    for method in METHODS:
        seen: list[float] = []

        def see(done: float, what: str, seen: list[float] = seen) -> None:
            assert what
            seen.append(done)

        ig.minimize(glass(), method, runs=16, sweeps=5, progress=see)
        assert seen == sorted(seen)
        assert (seen[0], seen[-1]) == (0, 1)


def test_clusters_cool_a_ferromagnet_in_few_steps(generator):
    ising = ig.BoltzmannMachine.ising(24, 24)
    found = ig.minimize(
        ising, "annealing", runs=20, sweeps=30, kernel=ig.SwendsenWang(), generator=generator
    )
    assert found.energy == -2 * 24 * 24
    assert found.hits == 20


def test_dtypes_of_the_energy():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        energy = ig.BoltzmannMachine.ising(4, 4).to(dtype)
        for method in METHODS:
            found = ig.minimize(energy, method, runs=16, sweeps=10, generator=seeded())
            assert found.states.dtype == dtype
            assert found.energy == -32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda():
    for build in (sparse, glass):
        energy = build().cuda()
        for method in METHODS:
            found = ig.minimize(energy, method, runs=40, sweeps=50, generator=seeded(0, "cuda"))
            assert found.states.is_cuda
            if build is glass:
                assert math.isclose(found.energy, least(energy.cpu()), abs_tol=1e-9)
                energy = energy.cuda()


def test_bad_input(unannotated):
    energy = glass()
    wrong = [
        (ParameterError, "method", lambda: ig.minimize(energy, "quantum")),
        (ParameterError, "runs", lambda: ig.minimize(energy, runs=0)),
        (ParameterError, "sweeps", lambda: ig.minimize(energy, sweeps=0)),
        (ParameterError, "energy", lambda: ig.minimize(ig.BoltzmannMachine)),  # pyright: ignore[reportArgumentType]
        (ParameterError, "kernel", lambda: ig.minimize(energy, kernel=ig.BlockGibbs)),  # pyright: ignore[reportArgumentType]
        (ParameterError, "generator", lambda: ig.minimize(energy, generator=0)),  # pyright: ignore[reportArgumentType]
        (ParameterError, "progress", lambda: ig.minimize(energy, progress=3)),  # pyright: ignore[reportArgumentType]
        (ParameterError, "hot to cold", lambda: ig.minimize(energy, temperatures=[1.0, 2.0])),
        (ParameterError, "hot to cold", lambda: ig.minimize(energy, temperatures=[])),
        (ParameterError, "hot to cold", lambda: ig.minimize(energy, temperatures=3.0)),  # pyright: ignore[reportArgumentType]
        (ParameterError, "above zero", lambda: ig.minimize(energy, temperatures=[1.0, 0.0])),
        (ParameterError, "3 runs or more",
         lambda: ig.minimize(energy, "exchange", runs=2, temperatures=[3.0, 2.0, 1.0])),
        (ShapeError, "one state a row", lambda: ig.minimize(energy, starts=spins(12))),
        (ShapeError, "features|12", lambda: ig.minimize(energy, starts=spins(3, 11))),
        (DomainError, "Spin", lambda: ig.minimize(energy, starts=0.5 * spins(3, 12))),
        (IntractableError, "given the others",
         lambda: ig.minimize(ig.DeepEnergy(torch.nn.Linear(3, 1), 3))),
        (IntractableError, "given the others",
         lambda: ig.minimize(ig.ModernHopfield(torch.eye(3)))),
    ]  # fmt: skip
    for error, match, call in wrong:
        with pytest.raises(error, match=match):
            call()


def test_energies_that_are_not_finite_are_refused():
    couplings = 3e38 * (torch.ones(3, 3) - torch.eye(3))
    with pytest.raises(DomainError, match="NaN or infinite"):
        ig.minimize(ig.BoltzmannMachine(ig.Spin(3), couplings), runs=4, sweeps=5)
