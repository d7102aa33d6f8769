"""The driven deep machine beside sums over all states and DeepBoltzmann's own inference."""

import math
from dataclasses import replace

import pytest
import torch

import isinglass as ig
from tests.cases import double
from tests.distributions.test_conditional_rbm import distance, repeated
from tests.seeds import seeded

UNIT, HIDDEN, TOP, ROWS = ig.Spin(4), ig.Bernoulli(3), ig.Bernoulli(2), 3


def machine(temperature=0.7, scale=0.7, coupling=0.7, steps=10, unit=UNIT, **annealing):
    weight = double(HIDDEN.size, unit.size, seed=3, scale=scale)
    join = double(HIDDEN.size, TOP.size, seed=5, scale=coupling)
    joint = ig.ConditionalRBM(
        ig.Mixed([unit, TOP]),
        double(ROWS, unit.size + TOP.size, seed=1, scale=scale),
        HIDDEN,
        double(ROWS, HIDDEN.size, seed=2, scale=scale),
        torch.cat([weight, join], -1),
        temperature=temperature,
        offset=double(ROWS, seed=4),
        annealing=ig.Annealing(**annealing),
    )
    return ig.ConditionalDBM(unit, joint, steps)


def exact_scores(distribution, states):
    """−F of states for every row, both hidden layers enumerated."""
    joint, t = distribution.joint, distribution.temperature
    h, top = HIDDEN.enumerate_states(), TOP.enumerate_states()
    size = distribution.unit.size
    bias, above = joint.bias.split([size, TOP.size], -1)
    weight, join = joint.weight.split([size, TOP.size], -1)
    agreement = (
        (bias @ states.mT)[:, :, None, None]
        + (joint.hidden_bias @ h.mT)[:, None, :, None]
        + (states @ weight.mT @ h.mT)[None, :, :, None]
        + (above @ top.mT)[:, None, None, :]
        + (h @ join @ top.mT)[None, None]
    )
    summed = t * (torch.logsumexp(agreement.flatten(-2) / t, -1) - math.log(len(h) * len(top)))
    return summed + joint.offset[:, None]


def scores_of(distribution, states):
    return distribution.score(states.unsqueeze(1).expand(-1, ROWS, -1)).mT


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("steps", [1, 10])
def test_the_score_bounds_the_free_energy(temperature, steps):
    distribution, states = machine(temperature, coupling=1.5, steps=steps), UNIT.enumerate_states()
    slack = exact_scores(distribution, states) - scores_of(distribution, states)
    assert (slack > -1e-12).all()
    assert slack.max() > 1e-3


def test_the_bound_is_that_of_a_deep_boltzmann_machine():
    distribution, states = machine(steps=200), UNIT.enumerate_states()
    above = math.log(len(HIDDEN.enumerate_states()) * len(TOP.enumerate_states()))
    scores = scores_of(distribution, states)
    for row in range(ROWS):
        deep = ig.DeepBoltzmann([UNIT, HIDDEN, TOP]).double()
        joint = distribution.joint
        values = [joint.bias[row, :4], joint.hidden_bias[row], joint.bias[row, 4:]]
        with torch.no_grad():
            for parameter, value in zip(deep.biases, values, strict=True):
                parameter.copy_(value)
            for parameter, value in zip(
                deep.weights, [joint.weight[:, :4], joint.weight[:, 4:].mT], strict=True
            ):
                parameter.copy_(value)
        found = deep.mean_field(states, 0.7, steps=500, tolerance=1e-14)
        bound = -found.free_energy - 0.7 * above + joint.offset[row]
        torch.testing.assert_close(scores[row], bound, rtol=0, atol=1e-8)


def test_without_a_coupling_the_bound_is_tight():
    distribution, states = machine(coupling=0.0, steps=1), UNIT.enumerate_states()
    torch.testing.assert_close(scores_of(distribution, states), exact_scores(distribution, states))


def test_without_weights_everything_is_zero():
    distribution = machine(0.4, scale=0.0, coupling=0.0, chains=1, levels=1)
    distribution = replace(distribution, joint=replace(distribution.joint, offset=0.0))
    assert scores_of(distribution, UNIT.enumerate_states()).abs().max() < 1e-12
    assert (distribution.value(torch.Generator()) - 0.4 * 4 * math.log(2)).abs().max() < 1e-12


def test_where_inference_converges_the_gradient_is_that_of_finite_differences():
    distribution, state = machine(steps=60), double(ROWS, 4, seed=9).sign()

    def score(bias, hidden_bias, weight, offset):
        parts = {"bias": bias, "hidden_bias": hidden_bias, "weight": weight, "offset": offset}
        return replace(distribution, joint=replace(distribution.joint, **parts)).score(state)

    joint = distribution.joint
    inputs = [joint.bias, joint.hidden_bias, joint.weight, joint.offset]
    torch.autograd.gradcheck(score, [x.clone().requires_grad_() for x in inputs])


@pytest.mark.parametrize("conditioned", [False, True], ids=["free", "conditioned"])
def test_values_and_draws_are_those_of_the_free_energy(conditioned):
    unit = ig.Categorical(6, groups=2)
    distribution, states = machine(unit=unit, chains=8, levels=8), unit.enumerate_states()
    if conditioned:
        first = torch.arange(6) < 3
        distribution = distribution.condition(states[-1].expand(ROWS, -1), first)
        states = states[states[:, 2] == 1]
    exact = exact_scores(distribution, states)
    many = replace(distribution, joint=repeated(distribution.joint, 0, 3_000))
    values = many.value(seeded(0))
    ratios = ((values - 0.7 * torch.logsumexp(exact[0] / 0.7, -1)) / 0.7).exp()
    error = float(ratios.std()) / math.sqrt(3_000)
    assert 1e-5 < error < 0.02
    assert abs(float(ratios.mean()) - 1) < 5 * error
    drawn = many.sample(seeded(1))
    found, noise = distance(drawn, states, (exact[0] / 0.7).softmax(-1))
    assert found < noise


def test_greedy_states_are_the_best_by_score():
    distribution, states = machine(0.2), UNIT.enumerate_states()
    torch.testing.assert_close(
        distribution.score(distribution.mode()), scores_of(distribution, states).amax(-1)
    )
    assert torch.equal(distribution.mode(), distribution.mode())
    large = machine(0.2, unit=ig.Spin(40), chains=6, levels=1, refinements=1)
    found = large.score(large.joint.peaks()[..., :40])
    assert (found.amin(0) < found.amax(0) - 0.1).any()
    torch.testing.assert_close(large.score(large.mode()), found.amax(0))


def test_what_a_mask_forbids_is_never_drawn():
    unit = ig.Categorical(6, groups=2)
    distribution = machine(unit=unit).masked(torch.tensor([1, 0, 1, 0, 1, 1], dtype=torch.bool))
    states = torch.cat([distribution.sample(), distribution.mode()])
    assert not states[:, [1, 3]].any()
    assert distribution.zeros_like_event().shape == (ROWS, 6)
