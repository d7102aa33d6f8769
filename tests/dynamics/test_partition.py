"""Annealing held to enumeration: unbiased weights, brackets that hold, refusals."""

import math

import pytest
import torch

import isinglass as ig
from isinglass.dynamics import PartitionStatus, anneal, even_schedule, log_partition, partition
from isinglass.dynamics.annealing import interpolate
from isinglass.energies import HarmoniumPath
from isinglass.errors import (
    DomainError,
    IntractableError,
    NoOverlapError,
    ParameterError,
    ShapeError,
)
from tests.cases import deep, hopfield_boltzmann, randomized
from tests.seeds import seeded

MACHINES = {
    "bits with spins": lambda: randomized(ig.RBM(ig.Bernoulli(4), ig.Spin(3)), scale=1.5),
    "one-hot with ReLU": lambda: randomized(
        ig.RBM(ig.Categorical(4), ig.RectifiedGaussian(2)), scale=1.0
    ),
    "Gaussian with bits": lambda: randomized(ig.RBM(ig.Gaussian(3), ig.Bernoulli(3)), scale=1.0),
    "three layers": deep,
    "several draws": lambda: hopfield_boltzmann(ig.Spin(4), draws=4),
    "several groups": lambda: hopfield_boltzmann(ig.Bernoulli(4), groups=2, draws=2),
}


def model_draws(machine: ig.Harmonium, count: int, generator: torch.Generator) -> torch.Tensor:
    """States of the model: by enumeration where that can be, else after many sweeps."""
    if len(machine.layers) == 2 and machine.visible.support is None:
        visible = machine.visible.enumerate_states()
        with torch.no_grad():
            probability = torch.softmax(-machine.free_energy(visible) / machine.temperature, 0)
        return machine.extend(
            visible[torch.multinomial(probability, count, True, generator=generator)]
        )
    start = machine.extend(torch.zeros(count, machine.visible.size).double())
    return ig.run(ig.BlockGibbs(), machine, start, steps=50, temperature=1.0, generator=generator)


@pytest.fixture
def machine():
    return MACHINES["bits with spins"]()


@pytest.mark.parametrize("name", MACHINES)
def test_estimates_agree_with_enumeration(name, generator):
    machine = MACHINES[name]()
    exact = log_partition(machine)
    assert exact.status is PartitionStatus.EXACT
    assert exact.bracket == (exact.value, exact.value)
    samples = model_draws(machine, 100, generator)
    found = log_partition(machine, "ais", levels=60, samples=samples, generator=generator)
    assert found.status is PartitionStatus.BRACKETED
    assert abs(found.value - exact.value) < 5 * found.standard_error
    assert found.bracket[0] < exact.value < found.bracket[1]
    assert found.bracket[1] - found.bracket[0] < 0.5
    assert 80 < found.effective_sample_size <= 100
    assert (found.chains, found.levels) == (100, 60)


@torch.no_grad()
@pytest.mark.parametrize("name", ["bits with spins", "one-hot with ReLU", "several draws"])
def test_weights_are_unbiased_both_ways_however_few_the_levels(name, generator):
    """⟨w⟩ = Z₁/Z₀ up and Z₀/Z₁ down, from exact draws, by the central limit theorem."""
    machine, count = MACHINES[name](), 20_000
    path = machine.path()
    levels = torch.tensor([0.0, 0.3, 0.6, 1.0], dtype=torch.float64)
    ratio = float(machine.exact_log_partition() - path.base_log_partition)
    up = anneal(path, path.draw_base(count, generator), levels, generator).log_weights
    start = path.prepare(model_draws(machine, count, generator), generator)
    down = anneal(path, start, levels.flip(0), generator).log_weights
    for weights in ((up - ratio).exp(), (down + ratio).exp()):
        assert abs(weights.mean() - 1) < 5 * weights.std() / math.sqrt(count)
        assert weights.std() > 0.01
    assert up.mean() < ratio < -down.mean()


def test_acceptance_ratio_of_normal_works(generator):
    """Works that keep Crooks' theorem, u ~ N(Δ − σ²/2, σ²) and d ~ N(−Δ − σ²/2, σ²)."""
    free, sigma, errors, stated = 3.0, 2.0, [], []
    for _ in range(200):
        up, down = sigma * torch.randn(2, 400, dtype=torch.float64, generator=generator)
        value, error = partition._acceptance_ratio(
            up + free - sigma**2 / 2, down[:200] - free - sigma**2 / 2
        )
        errors.append(value - free)
        stated.append(error)
    spread = torch.tensor(errors)
    assert abs(spread.mean()) < 5 * spread.std() / math.sqrt(200)
    assert abs(spread.std() / torch.tensor(stated).mean() - 1) < 5 / math.sqrt(2 * 200)


def test_states_for_the_way_down_come_from_replica_exchange(machine, generator):
    found = log_partition(machine, "ais", levels=60, generator=generator)
    assert found.status is PartitionStatus.BRACKETED
    assert abs(found.value - log_partition(machine).value) < 5 * found.standard_error
    assert found.bracket[0] < log_partition(machine).value < found.bracket[1]


def test_moves_that_are_not_reversible_are_averaged(machine, generator, monkeypatch):
    monkeypatch.setattr(type(machine.path()), "reversible", False)
    samples = model_draws(machine, 100, generator)
    found = log_partition(machine, "ais", levels=60, samples=samples, generator=generator)
    assert found.value == pytest.approx((found.up + found.down) / 2)
    assert abs(found.value - log_partition(machine).value) < 5 * found.standard_error


def test_a_pilot_spaces_the_levels(generator):
    """Steps are short where weights fluctuate: late, in a machine whose spins begin to order."""
    machine = randomized(ig.RBM(ig.Spin(20), ig.Spin(20)), scale=0.25)
    schedule = even_schedule(machine.path(), 50, generator=generator)
    steps = schedule.levels.diff()
    assert (schedule.levels[0], schedule.levels[-1]) == (0, 1)
    assert (steps > 0).all()
    assert steps[:10].mean() > 1.5 * steps[-10:].mean()
    free = even_schedule(machine.path(), generator=generator)
    assert len(free.levels) == int(min(max(40 * free.length**2, 100), 20_000))
    knots = torch.tensor([0.0, 1.0, 3.0]).double()
    at = torch.tensor([-1.0, 0.5, 2.0, 3.0, 9.0]).double()
    expected = torch.tensor([0.0, 2.0, 4.5, 5.0, 5.0]).double()
    torch.testing.assert_close(
        interpolate(at, knots, torch.tensor([0.0, 4.0, 5.0]).double()), expected
    )


def test_half_and_single_precision_accumulate_in_double(machine):
    exact = log_partition(machine).value
    for dtype in (torch.float32, torch.bfloat16):
        small = MACHINES["bits with spins"]().to(dtype)
        generator = seeded(3)
        samples = model_draws(machine, 100, generator).to(dtype)
        found = log_partition(small, "ais", levels=60, samples=samples, generator=generator)
        assert abs(found.value - exact) < 5 * found.standard_error + 100 * torch.finfo(dtype).eps


def test_given_samples_and_data_are_used(machine, generator):
    drawn = machine.visible_part(model_draws(machine, 300, generator))
    shown: list[tuple[float, str]] = []
    found = log_partition(
        machine, "ais", data=drawn, samples=machine.extend(drawn), levels=40, generator=generator,
        progress=lambda share, what: shown.append((share, what)),
    )  # fmt: skip
    assert found.status is PartitionStatus.BRACKETED
    assert abs(found.value - log_partition(machine).value) < 5 * found.standard_error
    shares = [share for share, _ in shown]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {"annealing up", "annealing down"} < {what for _, what in shown}


def test_states_of_another_distribution_are_found_out(generator):
    """From the likeliest state alone the way down ends far above the way up.

    Pinned to a machine of several modes.
    """
    machine = randomized(ig.RBM(ig.Spin(6), ig.Spin(5)), scale=2.0, pinned=True)
    visible = machine.visible.enumerate_states()
    best = visible[machine.free_energy(visible).argmin()].expand(100, -1)
    found = log_partition(
        machine, "ais", samples=machine.extend(best), levels=40, generator=generator
    )
    assert found.bracket[1] - found.bracket[0] > 1
    assert found.status is PartitionStatus.ESTIMATED
    assert found.standard_error > (found.down - found.up) / 2.01
    assert "different modes" in str(found)


def column(field: float) -> ig.RBM:
    """Spins that all follow one Gaussian unit, up or down."""
    machine = ig.RBM(ig.Spin(10), ig.Gaussian(1)).double()
    machine.weights[0].data.fill_(0.8)
    machine.biases[0].data.fill_(field)
    return machine


def company() -> ig.RBM:
    machine = ig.RBM(ig.Spin(16), ig.Spin(8)).double()
    machine.weights[0].data.fill_(1.0)
    return machine


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "data", "seeds"),
    [
        (lambda: column(0.03), False, 3),
        (lambda: column(0.15), False, 2),
        (company, True, 2),
        (lambda: ig.BoltzmannMachine.ising(4, 4, field=0.01).double(), True, 2),
    ],
    ids=["column", "tilted column", "spins", "grid"],
)
def test_no_mode_is_lost(build, data, seeds):
    """Of machines of two modes, nearly alike, with data of one of them."""
    machine, held = build(), 0
    exact = log_partition(machine).value
    shown = torch.ones(10, machine.layers[0].size).double() if data else None
    for seed in range(seeds):
        found = log_partition(
            machine, "ais", data=shown, levels=100, chains=60,
            generator=seeded(seed),
        )  # fmt: skip
        certain = found.status is PartitionStatus.BRACKETED
        held += not certain or found.bracket[0] <= exact <= found.bracket[1]
        assert abs(found.value - exact) < 5 * found.standard_error
    assert held >= seeds - 1


def test_samples_of_one_mode_are_doubted(generator):
    machine = column(0.15)
    samples = torch.full((100, 11), -1.0).double()
    found = log_partition(machine, "ais", samples=samples, levels=400, generator=generator)
    assert found.status is PartitionStatus.ESTIMATED
    assert abs(found.value - log_partition(machine).value) < 5 * found.standard_error
    assert found.bracket[0] <= found.bracket[1]


def test_few_walks_that_count_are_doubted():
    """Machine and walks are pinned to a case in which few count."""
    machine = randomized(ig.RBM(ig.Spin(14), ig.Spin(14)), scale=0.7, pinned=True)
    generator = torch.Generator().manual_seed(20260)
    found = log_partition(machine, "ais", levels=8, generator=generator)
    assert 3 < found.effective_sample_size < 10
    assert found.status is PartitionStatus.ESTIMATED
    assert "walks count" in str(found)
    assert found.standard_error > 0.3


def test_means_of_data_are_the_easy_end_only_where_they_reach_every_mode(
    machine, generator, monkeypatch
):
    def easy_end(model, data):
        path = partition._path(model, 1.0, data, 100, generator)
        assert isinstance(path, HarmoniumPath)
        return path.base[0]

    drawn = machine.visible_part(model_draws(machine, 100, generator))
    torch.testing.assert_close(easy_end(machine, drawn), HarmoniumPath(machine).base[0])
    monkeypatch.setattr(partition, "HOPELESS", 2.0)
    near = HarmoniumPath(machine, data=drawn).base[0]
    torch.testing.assert_close(easy_end(machine, drawn), near)
    two, ones = column(0.0), torch.ones(10, 10).double()
    torch.testing.assert_close(easy_end(two, ones), torch.zeros(10).double())


def test_without_a_ladder_it_is_an_estimate(machine, generator, monkeypatch):
    monkeypatch.setattr(partition, "MIXED", 2.0)
    found = log_partition(machine, "ais", levels=60, generator=generator)
    assert found.status is PartitionStatus.ESTIMATED
    assert found.bracket[1] == found.down == math.inf
    assert abs(found.value - log_partition(machine).value) < 5 * found.standard_error
    assert "estimated" in str(found)


def test_no_overlap_is_refused(generator):
    machine = randomized(ig.RBM(ig.Spin(40), ig.Spin(40)), scale=3.0)
    with pytest.raises(NoOverlapError, match="effective sample size"):
        log_partition(machine, "ais", levels=3, generator=generator)


def test_bad_input_is_named(machine):
    with pytest.raises(ParameterError, match="method"):
        log_partition(machine, "AIS")
    for temperature in (-1.0, 0.0, math.nan):
        with pytest.raises(ParameterError, match="temperature"):
            log_partition(machine, temperature=temperature)
    with pytest.raises(ParameterError, match="chains"):
        log_partition(machine, "ais", chains=1)
    with pytest.raises(ParameterError, match=r"log_partition: .*levels"):
        log_partition(machine, "ais", levels=1)
    with pytest.raises(DomainError, match="float32"):
        log_partition(machine, "ais", data=torch.ones(5, 4))
    for rows in (0, 1, 4):
        with pytest.raises(ShapeError):
            log_partition(machine, "ais", samples=torch.ones(rows, 7).double())
    with pytest.raises(DomainError):
        log_partition(machine, "ais", data=torch.full((2, 4), 0.5).double())
    with pytest.raises(ShapeError):
        log_partition(machine, "ais", samples=torch.ones(2, 4).double(), levels=5)
    with pytest.raises(IntractableError, match="ais"):
        log_partition(ig.RBM(ig.Bernoulli(40), ig.Bernoulli(40)), "exact")
    with pytest.raises(IntractableError, match="path"):
        log_partition(ig.ModernHopfield(torch.eye(3)))
    machine.weights[0].data[0, 0] = math.nan
    with pytest.raises(DomainError, match="weights"):
        log_partition(machine)


def test_weights_that_overflow_are_named(machine, generator):
    path = machine.path()
    start = path.draw_base(4, generator)
    machine.weights[0].data.fill_(1e308)
    with torch.no_grad(), pytest.raises(DomainError, match="4 of 4 weights"):
        anneal(path, start, path.levels(3), generator)


def test_wrong_types_are_named(unannotated):
    with pytest.raises(ParameterError, match="Linear"):
        log_partition(torch.nn.Linear(2, 2))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ParameterError, match="generator"):
        log_partition(column(0.1), "ais", generator=3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("progress", [int, "x", 3])
def test_progress_that_is_no_function(progress, unannotated):
    with pytest.raises(ParameterError, match="progress ="):
        ig.log_partition(ig.RBM(ig.Bernoulli(2), ig.Bernoulli(2)), progress=progress)
