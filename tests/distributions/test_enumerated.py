"""The oracle against plain sums, and the draws of every energy against the oracle."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

import isinglass as ig
from isinglass.agents import DBMEnergy, Enumerated, MixtureEnergy
from isinglass.distributions import annealed_conditional
from isinglass.errors import DomainError, IntractableError
from tests.agents.small import ENERGIES, SEEN, SPACES, every_action, shaped_policy
from tests.cases import double
from tests.distributions.test_conditional_rbm import distance
from tests.seeds import seeded

UNIT = ig.Mixed([ig.Categorical(2), ig.Categorical(3)])


def mixture(rows=4, temperature=0.7):
    keys, fields = double(rows, 3, seed=1), double(rows, 3, 5, seed=2)
    return ig.PatternMixture(UNIT, keys, fields, temperature)


def test_every_state_has_its_score():
    distribution = mixture()
    exact = Enumerated.of(distribution)
    for row in range(4):
        one = replace(distribution, keys=distribution.keys[row], fields=distribution.fields[row])
        torch.testing.assert_close(exact.scores[row], one.score(UNIT.enumerate_states()))
    state = UNIT.enumerate_states()[[0, 5, 2, 2]]
    torch.testing.assert_close(exact.score(state), distribution.score(state))
    several = UNIT.enumerate_states()[torch.tensor([[0, 5, 2, 2], [1, 1, 3, 4]])]
    torch.testing.assert_close(exact.score(several), distribution.score(several))


def test_values_probabilities_and_entropies():
    distribution = mixture()
    exact = Enumerated.of(distribution)
    torch.testing.assert_close(exact.value(), distribution.value())
    shares = exact.log_probs().exp()
    torch.testing.assert_close(shares.sum(-1), torch.ones(4).double())
    mean = (shares * exact.scores).sum(-1)
    torch.testing.assert_close(exact.entropy(), (exact.value() - mean) / 0.7)
    allowed = double(4, 6, seed=3) > 0
    allowed[:, 2] = True
    some = Enumerated.of(distribution, allowed)
    assert (some.log_probs().exp()[~allowed] == 0).all()
    for row in range(4):
        q = exact.scores[row][allowed[row]]
        value = 0.7 * torch.logsumexp(q / 0.7, 0)
        shares = (q / 0.7).softmax(0)
        torch.testing.assert_close(some.value()[row], value)
        torch.testing.assert_close(some.entropy()[row], -(shares * shares.log()).sum())
        best = UNIT.enumerate_states()[allowed[row]][q.argmax()]
        assert torch.equal(some.mode()[row], best)


def test_conditions_are_those_of_the_mixture():
    distribution = mixture()
    observed = torch.tensor([True, True, False, False, False])
    state = UNIT.enumerate_states()[[0, 5, 2, 4]]
    rest = Enumerated.of(distribution).condition(state, observed)
    torch.testing.assert_close(rest.value(), distribution.condition(state, observed).value())
    drawn = rest.sample(seeded(0))
    assert torch.equal(drawn[:, :2], state[:, :2])
    allowed = torch.ones(4, 6, dtype=torch.bool)
    allowed[1, 3:] = False
    with pytest.raises(DomainError, match="no allowed action that agrees"):
        Enumerated.of(distribution, allowed).condition(state, observed)
    mask = torch.tensor([[1, 0, 1, 1, 1], [1, 1, 0, 0, 1], [0, 1, 1, 0, 1], [1, 1, 1, 1, 1]]) > 0
    torch.testing.assert_close(
        Enumerated.of(distribution).masked(mask).scores,
        Enumerated.of(distribution.masked(mask)).scores,
    )


def test_draws_of_the_oracle():
    exact = Enumerated.of(mixture(rows=1))
    many = replace(exact, scores=exact.scores.expand(5_000, -1))
    drawn = many.sample(seeded(0))
    found, noise = distance(drawn, exact.states, exact.log_probs()[0].exp())
    assert found < noise
    assert torch.equal(exact.zeros_like_event(), torch.zeros(1, 5).double())


def test_too_many_actions_to_look_at():
    distribution = ig.PatternMixture(ig.Spin(21), torch.zeros(1, 2), torch.zeros(1, 2, 21))
    with pytest.raises(IntractableError, match=r"2\.1e\+06 actions.*1,048,576"):
        Enumerated.of(distribution)


def shares_of(policy, seen, energy):
    """The exact policy over all actions, as the energy draws them."""
    with torch.no_grad():
        distribution = policy.q_net(torch.tensor(seen)[None], policy.temperature)
        if isinstance(
            energy, DBMEnergy
        ):  # drawn from −F, of which Q is a bound: sum over the top layer
            both = Enumerated.of(distribution.joint).log_probs().exp()[0]
            return both.reshape(-1, 2**distribution.top.size).sum(-1)
        return Enumerated.of(distribution).log_probs().exp()[0]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("name", ENERGIES)
def test_actions_of_every_energy_follow_the_exact_policy(name, temperature, monkeypatch):
    """By chains, though these are actions few enough to be enumerated."""
    monkeypatch.setattr("isinglass.distributions.enumerated.FEW_STATES", 0)
    energy, space, draws = ENERGIES[name], SPACES["parts"], 3_000
    policy = shaped_policy(space, energy, temperature)
    seen = np.array([0.5, -0.8], np.float32)
    exact = shares_of(policy, seen, energy)
    actions, _ = policy.predict(np.tile(seen, (draws, 1)))
    found, noise = distance(
        torch.tensor(actions), torch.tensor(every_action(space)), exact.double()
    )
    assert found < noise
    uniform = float((exact - 1 / len(exact)).abs().sum() / 2)
    assert uniform > 1.5 * noise or temperature == 3.0


def no_chain(levels):
    raise AssertionError("a chain")


@pytest.mark.parametrize("name", ["groups", "restricted", "expected", "deep", "pairs"])
def test_few_actions_are_enumerated(name, monkeypatch):
    monkeypatch.setattr(annealed_conditional, "couplings", no_chain)
    energy = ENERGIES[name]
    policy = shaped_policy(spaces.MultiBinary(8), energy)
    policy.predict(np.zeros((5, 2), np.float32))
    monkeypatch.setattr("isinglass.distributions.enumerated.FEW_STATES", 255)
    with pytest.raises(AssertionError, match="a chain"):
        policy.predict(np.zeros((5, 2), np.float32))
    with pytest.raises(AssertionError, match="a chain"):
        shaped_policy(spaces.MultiBinary(9), energy).predict(np.zeros((5, 2), np.float32))


@pytest.mark.parametrize("name", ENERGIES)
def test_greedy_actions_are_the_best(name, monkeypatch):
    for few in (0, 256):
        monkeypatch.setattr("isinglass.distributions.enumerated.FEW_STATES", few)
        policy = shaped_policy(SPACES["bits"], ENERGIES[name], 0.1)
        seen = torch.linspace(-1, 1, 24).reshape(12, 2)
        actions, _ = policy.predict(seen.numpy(), deterministic=True)
        with torch.no_grad():
            scores = Enumerated.of(policy.q_net(seen, 0.1)).scores
            found = policy.action_values(seen, torch.tensor(actions))
        slack = 0.1 * np.log(5) if isinstance(ENERGIES[name], MixtureEnergy) else 0.0
        assert (found >= scores.amax(-1) - slack - 1e-4).all()


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize("space", ["bits", "parts"])
def test_listing_what_is_clamped_is_clamping_what_is_listed(name, space):
    """A score does not see clamped units: states that disagree with them are no states."""
    policy = shaped_policy(SPACES[space], ENERGIES[name])
    distribution = policy.q_net(torch.ones(2, SEEN.shape[0]), 0.7)
    state = policy.code.encode(torch.as_tensor(every_action(SPACES[space])))[[3, 5]]
    observed = torch.zeros(state.shape[-1], dtype=torch.bool)
    observed[: 1 if space == "bits" else 2] = True  # the first part
    found = Enumerated.of(distribution.condition(state, observed))
    expected = Enumerated.of(distribution).condition(state, observed)
    torch.testing.assert_close(found.scores, expected.scores)


def test_a_warmer_row_is_at_a_share_of_its_own_spread():
    distribution = Enumerated.of(mixture(rows=6))
    allowed = double(6, 6, seed=3) > 0
    allowed[:, 2:4] = True
    scores = distribution.scores.masked_fill(~allowed, -torch.inf)
    scores[0] *= 100
    cold = replace(distribution, scores=scores)
    warm = cold.warmed(0.5)
    for row in range(6):
        q = scores[row][allowed[row]]
        temperature = max(0.7, 0.5 * float(q.std(correction=0)))
        expected = (q / temperature).softmax(0)
        torch.testing.assert_close(warm.log_probs()[row][allowed[row]].exp(), expected)
        assert (warm.scores[row][~allowed[row]] == -torch.inf).all()
    assert warm.entropy()[0] > cold.entropy()[0] + 0.1
    alike = replace(cold, scores=torch.full((6, 6), 3.0).double())
    torch.testing.assert_close(alike.warmed(0.5).scores, alike.scores)
