"""What the one-hot machine and its mixture add to the properties and formulas."""

import copy

import pytest
import torch
from torch import nn

import isinglass as ig
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from tests.cases import double, hopfield_boltzmann, spins
from tests.seeds import seeded


@pytest.mark.parametrize(
    "unit",
    [ig.Spin(4), ig.Bernoulli(4), ig.Categorical(4, groups=2)],
    ids=lambda unit: type(unit).__name__,
)
def test_probabilities_sum_to_one(unit):
    total = hopfield_boltzmann(unit).log_prob(unit.enumerate_states()).exp().sum()
    torch.testing.assert_close(total.detach(), torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize(
    "unit", [ig.Bernoulli(4), ig.Categorical(4, groups=2)], ids=lambda u: type(u).__name__
)
def test_conditionals_agree_with_enumeration(unit):
    machine, states = hopfield_boltzmann(unit), unit.enumerate_states()
    seen = torch.tensor([True, True, False, False])
    p = machine.log_prob(states).exp().detach()
    for state in states:
        agree = (states[:, seen] == state[seen]).all(-1)
        expected = (p[agree] @ states[agree]) / p[agree].sum()
        found = machine.conditional(state, seen)
        torch.testing.assert_close(found.mean().detach(), expected)
        evidence = (found.value() - machine.mixture().value()) / machine.temperature
        torch.testing.assert_close(evidence.detach(), p[agree].sum().log())


def test_gaussian_conditional_is_bayes():
    """log p(v_O) and ⟨v | v_O⟩ against the mixture's marginals."""
    machine = hopfield_boltzmann(ig.Gaussian(2), beta=1.3)
    v, seen = double(7, 2), torch.tensor([True, False])
    fields = (machine.patterns + machine.visible_bias).detach()
    weights = machine.mixture().log_weights().exp().detach()
    normal = torch.distributions.Normal(fields[:, 0], 1.3**-0.5)
    joint = weights * normal.log_prob(v[:, :1]).exp()
    found = machine.conditional(v, seen)
    evidence = (found.value() - machine.mixture().value()) / machine.temperature
    torch.testing.assert_close(evidence.detach(), joint.sum(-1).log())
    mean = (joint @ fields[:, 1]) / joint.sum(-1)
    torch.testing.assert_close(found.mean()[:, 1].detach(), mean)
    torch.testing.assert_close(found.mean()[:, 0], v[:, 0])


def test_observed_units_are_kept_and_others_ignored(generator):
    machine = hopfield_boltzmann(ig.Spin(6))
    v = spins(9, 6)
    seen = double(9, 6) > 0  # another mask in every row
    hidden = torch.where(seen, v, float("nan"))
    for state in (
        machine.conditional(hidden, seen).sample(generator),
        machine.conditional(hidden, seen).mode(),
    ):
        assert (state == v)[seen].all()
        assert (state.abs() == 1).all()
    full = machine.conditional(v, torch.ones(6, dtype=torch.bool))
    assert torch.equal(full.mean(), v)
    log_prob = (full.value() - machine.mixture().value()) / machine.temperature
    torch.testing.assert_close(log_prob, machine.log_prob(v))


@pytest.mark.parametrize(
    "unit",
    [ig.Spin(4), ig.Gaussian(4), ig.Categorical(4, groups=2), ig.Multinomial(4, draws=2, groups=2)],
    ids=lambda u: type(u).__name__,
)
def test_chain_rule_in_one_step_or_two(unit):
    """log p(v) = log p(v_A) + log p(v_B | v_A) + log p(v_C | v_A, v_B)."""
    machine = hopfield_boltzmann(unit)
    v = unit.sample(double(6, 4), 1.0)
    first = torch.tensor([True, True, False, False])
    second = torch.tensor([False, False, True, True])
    one = machine.conditional(v, first)
    total = (one.value() - machine.mixture().value()) / machine.temperature + one.log_prob(v)
    torch.testing.assert_close(total, machine.log_prob(v))
    other = torch.where(first, -v, v)  # what is clamped already cannot be changed
    two = one.condition(torch.where(first, v, other), first | second)
    torch.testing.assert_close((two.value() - one.value()) / two.temperature, one.log_prob(v))
    torch.testing.assert_close(two.mean(), v)
    torch.testing.assert_close(two.log_prob(v), torch.zeros(6).double())


def test_conditional_samples_follow_the_conditional(generator):
    machine = hopfield_boltzmann(ig.Bernoulli(3))
    v, seen = torch.tensor([1.0, 0, 0]).double(), torch.tensor([True, False, False])
    found = machine.conditional(v.expand(30_000, 3), seen)
    mean, draws = found.mean()[0].detach(), found.sample(generator)
    deviation = (mean * (1 - mean) / 30_000).sqrt()
    assert ((draws.mean(0) - mean).abs() <= 5 * deviation).all()


def test_mixtures_in_a_batch_are_mixtures_in_a_row():
    keys, fields, state = double(4, 3), double(4, 3, 5, seed=1), spins(4, 5)
    batch = ig.PatternMixture(ig.Spin(5), keys, fields, 0.8)
    for row in range(4):
        one = ig.PatternMixture(ig.Spin(5), keys[row], fields[row], 0.8)
        for name in ("log_weights", "value", "mean", "mode"):
            torch.testing.assert_close(getattr(batch, name)()[row], getattr(one, name)())
        torch.testing.assert_close(batch.log_prob(state)[row], one.log_prob(state[row]))
    assert batch.sample().shape == (4, 5)


@pytest.mark.parametrize(("groups", "draws"), [(1, 3), (2, 1), (2, 2)])
def test_contrast_with_several_groups_and_draws_is_the_gradient_of_the_likelihood(groups, draws):
    """−log p(v) = F(v)/T + log Z, in which T = 1/(mβ): with model states drawn exactly."""
    machine = hopfield_boltzmann(ig.Spin(3), groups=groups, draws=draws)
    states, parameters = ig.Spin(3).enumerate_states(), list(machine.parameters())
    exponents = -machine.free_energy(states) / machine.temperature
    loss = torch.logsumexp(exponents, 0) - exponents[:4].mean()
    joint = machine.enumerate_states()
    log_z = torch.logsumexp(-machine(joint) / machine.temperature, 0)
    torch.testing.assert_close(torch.logsumexp(exponents, 0), log_z)
    p = torch.softmax(exponents.detach(), 0)
    count = 10_000
    fantasies = machine.extend(states.repeat_interleave((count * p).round().long(), 0))
    found = torch.autograd.grad(machine.contrastive_loss(states[:4], fantasies), parameters)
    for one, other in zip(found, torch.autograd.grad(loss, parameters), strict=True):
        torch.testing.assert_close(
            one, other, rtol=0, atol=len(states) / count / machine.temperature
        )


def test_sampling_is_reproducible():
    machine = hopfield_boltzmann(ig.Gaussian(3))
    one, two = (machine.sample(4, generator=seeded(1)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, machine.sample(4, generator=seeded(2)))


def test_bad_input():
    with pytest.raises(ParameterError, match="beta"):
        ig.HopfieldBoltzmann(ig.Spin(3), 2, beta=0.0)
    with pytest.raises(ParameterError, match="memories"):
        ig.HopfieldBoltzmann(ig.Spin(3), 0)
    with pytest.raises(ShapeError, match="3 visible units"):
        ig.HopfieldBoltzmann.from_patterns(ig.Spin(3), torch.ones(2, 4))
    machine = ig.HopfieldBoltzmann(ig.Spin(3), 2)
    with pytest.raises(ShapeError, match=r"log_prob.*\(\*batch, 3\).*\(1, 4\)"):
        machine.log_prob(torch.ones(1, 4))
    with pytest.raises(DomainError, match="Spin units take -1 or 1"):
        machine.log_prob(torch.zeros(1, 3))
    with pytest.raises(ParameterError, match="count"):
        machine.sample(0)
    for hard in (
        ig.HopfieldBoltzmann(ig.Spin(3), 2, groups=2),
        ig.HopfieldBoltzmann(ig.Spin(3), 2, draws=2),
    ):
        for call in (
            lambda m=hard: m.log_prob(torch.ones(1, 3)),
            lambda m=hard: m.conditional(torch.ones(3), torch.ones(3, dtype=torch.bool)),
        ):
            with pytest.raises(IntractableError, match="BlockGibbs"):
                call()
    with pytest.raises(ShapeError, match="boolean mask"):
        machine.conditional(torch.ones(3), torch.ones(2, dtype=torch.bool))
    with pytest.raises(DomainError, match="NaN"):
        machine.conditional(torch.tensor([1.0, float("nan"), 1]), torch.ones(3, dtype=torch.bool))
    for call in (machine.log_prob, machine.free_energy):
        with pytest.raises(DomainError, match=r"float64.*float32"):
            call(torch.ones(1, 3).double())
    with pytest.raises(DomainError, match="Spin"):
        machine.conditional(torch.tensor([1.0, 0.5, 1]), torch.tensor([False, True, True]))
    potts = ig.HopfieldBoltzmann(ig.Categorical(4, groups=2), 2)
    with pytest.raises(ShapeError, match="one-hot unit"):
        potts.conditional(torch.tensor([1.0, 0, 1, 0]), torch.tensor([True, False, True, True]))
    with pytest.raises(ShapeError, match="Call sample"):
        ig.PatternMixture(ig.Spin(2), torch.zeros(3, 2), torch.zeros(3, 2, 2)).sample_n(1)
    with pytest.raises(ParameterError, match="coupling"):
        ig.Harmonium([ig.Spin(2), ig.Bernoulli(2)], [(0, 2)])
    with pytest.raises(ParameterError, match="temperature"):
        ig.RBM(ig.Bernoulli(2), ig.Bernoulli(2)).free_energy(torch.zeros(1, 2), temperature=-1.0)
    with pytest.raises(DomainError, match="Bernoulli"):
        ig.RBM(ig.Bernoulli(2), ig.Bernoulli(2)).free_energy(torch.tensor([[0.0, 0.5]]))
    with pytest.raises(ParameterError, match="steps"):
        ig.dynamics.run(
            ig.BlockGibbs(), ig.RBM(ig.Bernoulli(2), ig.Bernoulli(2)), torch.zeros(1, 4),
            steps=-1, temperature=1.0,
        )  # fmt: skip
    with pytest.raises(DomainError, match="Bernoulli"):
        ig.RBM(ig.Bernoulli(2), ig.Bernoulli(2)).check_state(torch.tensor([[0.0, 0, 0, 7]]))


def test_bad_machines_and_mixtures():
    with pytest.raises(ParameterError, match="each a unit"):
        ig.Harmonium([], [])
    with pytest.raises(ParameterError, match="once"):
        ig.Harmonium([ig.Spin(2), ig.Bernoulli(2)], [(0, 1), (1, 0)])
    keys, fields = torch.zeros(2), torch.zeros(2, 3)
    for temperature in (0.0, -1.0):
        with pytest.raises(ParameterError, match="temperature"):
            ig.PatternMixture(ig.Spin(3), keys, fields, temperature)
    with pytest.raises(ShapeError, match="N keys and N fields"):
        ig.PatternMixture(ig.Spin(3), keys, torch.zeros(2, 4))
    machine = hopfield_boltzmann(ig.Spin(3), beta=0.7)
    with pytest.raises(ParameterError, match=r"1/\(mβ\)"):
        machine.free_energy(spins(1, 3), temperature=1.0)
    with pytest.raises(ShapeError, match="one mask"):
        machine.conditional(spins(2, 3), torch.ones(5, 3, dtype=torch.bool))


def test_averages_of_several_draws_have_no_argmax_state_at_a_temperature():
    averaged = ig.Multinomial(3, draws=4)
    mixture = ig.PatternMixture(averaged, double(2), double(2, 3))
    with pytest.raises(IntractableError, match="single draw"):
        mixture.mode()
    with pytest.raises(IntractableError, match="single draw"):
        ig.RBM(averaged, ig.Bernoulli(2)).marginal().cccp_update(torch.eye(3))


def test_modes_without_any_field_are_states():
    for unit in (ig.Spin(3), ig.Bernoulli(3), ig.Categorical(4, groups=2)):
        mode = ig.PatternMixture(unit, torch.zeros(2), torch.zeros(2, unit.size)).mode()
        assert unit.contains(mode).all()


def test_hidden_layers_may_be_filled_in_some_rows_only():
    machine = ig.RBM(ig.Bernoulli(2), ig.Spin(2))
    machine.check_state(torch.tensor([[0.0, 1, 0, 0], [0, 1, 1, -1]]))
    with pytest.raises(DomainError, match="Spin"):
        machine.check_state(torch.tensor([[0.0, 1, 0, 0], [0, 1, 1, 0.5]]))


def test_the_kept_groups_follow_beta():
    machine = hopfield_boltzmann(ig.Spin(4), memories=3, groups=2, beta=0.7)
    visible = spins(5, 4)

    def free_energy(beta):
        scores = (machine.memory_bias + visible @ machine.patterns.mT).unflatten(-1, (2, 3))
        groups = torch.logsumexp(beta * scores, -1).sum(-1) / beta
        return -visible @ machine.visible_bias - groups

    assert machine.layers is machine.layers  # kept while nothing changes
    torch.testing.assert_close(machine.free_energy(visible), free_energy(0.7))
    twin = copy.deepcopy(machine)
    machine.beta = 1.9
    torch.testing.assert_close(machine.free_energy(visible), free_energy(1.9))
    torch.testing.assert_close(twin.free_energy(visible), free_energy(0.7))
    assert machine.layers[1].beta == 1.9


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -1.0, 1j, 1e-300, 1e300, "a", None])
def test_scales_of_weights_that_cannot_be(scale, unannotated):
    bits = ig.Bernoulli(3)
    for make in (
        lambda: ig.HopfieldBoltzmann(bits, 2, scale=scale),
        lambda: ig.RBM(bits, bits, scale=scale),
        lambda: ig.DeepBoltzmann([bits, bits, bits], scale=scale),
        lambda: ig.BoltzmannMachine(bits, scale=scale),
    ):
        with pytest.raises(ParameterError, match="scale = "):
            make()


def test_beta_is_in_the_state_dict():
    one, other = (ig.HopfieldBoltzmann(ig.Spin(3), 2, beta=beta) for beta in (3.0, 1.0))
    assert str(other.load_state_dict(one.state_dict())) == "<All keys matched successfully>"
    states = torch.eye(3).sign() * 2 - 1
    assert other.beta == 3.0
    torch.testing.assert_close(other.log_prob(states), one.log_prob(states))


#: What every public method that takes rows gives of none: shapes, d visible units, s units.
OF_NO_ROWS = {
    "check_state": (lambda m, v, s: m.check_state(s), None),
    "check_visible": (lambda m, v, s: m.check_visible(v), None),
    "clamped_sweep": (lambda m, v, s: m.clamped_sweep(s, s > 0, m.temperature, seeded()), "s"),
    "conditional_field": (lambda m, v, s: m.conditional_field(s, 0), "d"),
    "energy_and_grad": (lambda m, v, s: m.energy_and_grad(s)[1], "s"),
    "energy_at": (lambda m, v, s: m.energy_at(s, m.temperature), ""),
    "extend": (lambda m, v, s: m.extend(v), "s"),
    "free_energy": (lambda m, v, s: m.free_energy(v), ""),
    "grad": (lambda m, v, s: m.grad(s), "s"),
    "marginal": (lambda m, v, s: m.marginal().grad(v), "d"),
    "mean_field_energy": (lambda m, v, s: m.mean_field_energy(s, m.temperature), ""),
    "mean_sweep": (lambda m, v, s: m.mean_sweep(s, m.temperature), "s"),
    "negative_phase": (lambda m, v, s: m.negative_phase(s), ""),
    "positive_phase": (lambda m, v, s: m.positive_phase(v), ""),
    "split": (lambda m, v, s: m.split(s)[0], "d"),
    "sweep": (lambda m, v, s: m.sweep(s, m.temperature, seeded()), "s"),
    "visible_part": (lambda m, v, s: m.visible_part(s), "d"),
}
REFUSED_OF_NO_ROWS = {
    "attentional": lambda m, v, s: m.attentional(v),
    "contrastive_loss": lambda m, v, s: m.contrastive_loss(v, s.new_zeros(3, s.shape[-1])),
    "from_patterns": lambda m, v, s: m.from_patterns(m.visible, v),
    "persistent_contrastive_loss": lambda m, v, s: m.persistent_contrastive_loss(v, s),
    "sample": lambda m, v, s: m.sample(0),
}
#: Those of one group and one draw alone, and those of other machines alone.
EXACT_OF_NO_ROWS = {
    "conditional": (lambda m, v, s: m.conditional(v, half_seen(m)).mean(), "d"),
    "log_prob": (lambda m, v, s: m.log_prob(v), ""),
}
TAKE_NO_ROWS = {
    "check_normalizable", "config", "default_sampler", "description", "enumerate_states",
    "exact_log_partition", "from_config", "log_states_summed", "mixture", "own_description",
    "own_numbers", "path",
}  # fmt: skip
EVERY_UNIT = [
    ig.Spin(4), ig.Bernoulli(4), ig.Gaussian(4), ig.RectifiedGaussian(4),
    ig.Categorical(4, groups=2), ig.Mixed([ig.Spin(2), ig.Gaussian(2)]),
]  # fmt: skip


def half_seen(machine):
    return torch.arange(machine.visible.size) < 2


@pytest.mark.parametrize("unit", EVERY_UNIT, ids=lambda unit: type(unit).__name__)
@pytest.mark.parametrize(("groups", "draws"), [(1, 1), (2, 1), (1, 2)])
def test_no_rows_are_no_rows_or_refused_by_name(unit, groups, draws):
    """Of every public method, whatever is added to them."""
    machine = hopfield_boltzmann(unit, 3, groups, draws)
    size = 4 + 3 * groups
    visible, state = double(0, 4), double(0, size)
    given = dict(OF_NO_ROWS)
    if (groups, draws) == (1, 1):
        given |= EXACT_OF_NO_ROWS
    for name, (call, shape) in given.items():
        found = call(machine, visible, state)
        expected = None if shape is None else (0, *({"d": 4, "s": size}[k] for k in shape))
        assert (None if found is None else found.shape) == expected, name
    for name, call in REFUSED_OF_NO_ROWS.items():
        with pytest.raises((ShapeError, ParameterError), match=rf"{name}.*at least"):
            call(machine, visible, state)
    if groups > 1:
        with pytest.raises(ShapeError, match="at least one example"):
            machine.path(data=visible)
    public = {
        name
        for name in set(dir(machine)) - set(dir(nn.Module()))
        if not name.startswith("_") and callable(getattr(type(machine), name, None))
    }
    listed = {*OF_NO_ROWS, *EXACT_OF_NO_ROWS, *REFUSED_OF_NO_ROWS, *TAKE_NO_ROWS}
    assert public == listed


@pytest.mark.parametrize("unit", EVERY_UNIT, ids=lambda unit: type(unit).__name__)
def test_conditionals_of_no_rows(unit):
    """Whatever is asked of them, with a mask for all rows or one for each."""
    machine, visible = hopfield_boltzmann(unit), double(0, 4)
    seen = half_seen(machine)
    for mask in (seen, seen.expand(0, 4), torch.zeros(0, 4, dtype=torch.bool)):
        given = machine.conditional(visible, mask)
        again = given.condition(visible, ~seen)
        for found in (given.mean(), given.sample(seeded()), given.mode(), again.mean()):
            assert found.shape == (0, 4)
        for found in (given.value(), given.score(visible), given.log_prob(visible)):
            assert found.shape == (0,)
        assert given.log_weights().shape == given.responsibilities(visible).shape == (0, 3)
        assert ig.impute(machine, visible, mask, generator=seeded()).shape == (0, 4)
