"""The joint energy of the world: conditionals against enumeration, what it keeps and refuses."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import isinglass as ig
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.units import Bernoulli, Categorical, Gaussian, Mixed, Spin
from isinglass.world import WorldColumns, WorldEnergy

STATES, ACTIONS = 4, 3


def walk(count: int = 60, seed: int = 0, states: int = STATES) -> tuple[torch.Tensor, ...]:
    """Random transitions on a ring, with a little slipping, rewards at state 0."""
    generator = torch.Generator().manual_seed(seed)
    state = torch.randint(states, (count,), generator=generator)
    action = torch.randint(ACTIONS, (count,), generator=generator)
    slip = (torch.rand(count, generator=generator) < 0.2).long()
    after = (state + action - 1 + slip) % states
    return state, action, (after == 0).double(), after, after == 0


def world_of(*transitions: torch.Tensor, **settings: object) -> WorldEnergy:
    world = WorldEnergy(WorldColumns(Categorical(STATES), Categorical(ACTIONS)), **settings)
    world.store(*transitions)
    return world


def chances(world: WorldEnergy) -> dict[tuple[int, ...], float]:
    """p(s, a, s′, done) by enumeration of the definition: a leaky copy of every stored row."""
    found: dict[tuple[int, ...], float] = {}
    sizes = (STATES, ACTIONS, STATES, 2)
    for x in itertools.product(*map(range, sizes)):
        total = 0.0
        for row, count in zip(world.rows.tolist(), world.counts.tolist(), strict=True):
            stored = [int(row[i]) for i in (0, 1, 3, 4)]
            chance = count / float(world.counts.sum())
            for value, kept, size in zip(x, stored, sizes, strict=True):
                leak = 1 / (math.exp(world.sharpness) + size - 1)
                chance *= math.exp(world.sharpness) * leak if value == kept else leak
            total += chance
        found[x] = total
    return found


@pytest.mark.parametrize("sharpness", [1.0, 3.0, 40.0])
def test_conditionals_are_those_of_enumeration(sharpness: float) -> None:
    world = world_of(*walk(), sharpness=sharpness)
    table = chances(world)
    assert sum(table.values()) == pytest.approx(1, abs=1e-12)
    cases = [
        ({"state": 1, "action": 2}, "next_state", (0, 1), 2),
        ({"state": 1, "next_state": 0}, "action", (0, 2), 1),
        ({"next_state": 3}, "state", (2,), 0),
        ({"action": 0, "done": 1}, "next_state", (1, 3), 2),
    ]
    for given, asked, places, answer in cases:
        question = world.conditional(**{name: [value] for name, value in given.items()})
        values = list(given.values())
        match = {x: p for x, p in table.items() if [x[i] for i in places] == values}
        whole = sum(match.values())
        assert float(question.log_evidence) == pytest.approx(math.log(whole), abs=1e-9)
        for value, probability in enumerate(question.probs(asked)[0].tolist()):
            wanted = sum(p for x, p in match.items() if x[answer] == value) / whole
            assert probability == pytest.approx(wanted, abs=1e-9)


def test_mean_reward_is_that_of_matching_rows() -> None:
    state, action, reward, after, done = walk()
    world = world_of(state, action, reward, after, done)
    mine = (state == 2) & (action == 1)
    found = world.conditional(state=[2], action=[1]).mean("reward")
    assert float(found) == pytest.approx(float(reward[mine].mean()), abs=1e-9)


def test_what_was_never_met_is_told() -> None:
    state, action, *rest = walk(200)
    kept = ~((state == 3) & (action == 2))
    world = world_of(*(column[kept] for column in (state, action, *rest)))
    met, unmet = world.log_prob(state=[1, 3], action=[1, 2]).tolist()
    assert met > -4
    assert unmet < -30


def test_samples_follow_the_counts() -> None:
    state, action, *rest = walk(300)
    world = world_of(state, action, *rest)
    drawn = world.sample(20_000, torch.Generator().manual_seed(1))
    share = (drawn["state"] == 2).double().mean()
    wanted = (state == 2).double().mean()
    assert float((share - wanted).abs()) < 5 * math.sqrt(0.25 / 20_000)


def test_forgetting_is_storing_undone() -> None:
    first, second = walk(40, seed=0), walk(40, seed=1)
    once, both = world_of(*first), world_of(*first)
    both.store(*second)
    assert len(both) == 80
    gone = both.forget(state=2)
    assert gone == int((torch.cat([first[0], second[0]]) == 2).sum())
    assert float(both.log_prob(state=[2])) < -30
    with pytest.raises(ParameterError, match="no transition with state = 2"):
        both.forget(state=2)
    both.forget()
    assert len(both) == 0
    both.store(*first)
    torch.testing.assert_close(both.rows, once.rows, rtol=0, atol=0)


def test_saved_and_loaded_to_the_bit(tmp_path) -> None:
    world = world_of(*walk(), relative=False, sharpness=5.0)
    ig.save(world, tmp_path / "world.safetensors")
    back = ig.load(tmp_path / "world.safetensors")
    assert isinstance(back, WorldEnergy)
    assert torch.equal(back.plan().q, world.plan().q)
    twin = WorldEnergy(world.columns, relative=False)
    twin.load_state_dict(world.state_dict())
    assert torch.equal(twin.rows, world.rows)
    assert twin.sharpness == 5.0


def test_mixed_columns_are_kept_apart() -> None:
    columns = WorldColumns(Mixed([Categorical(3), Spin(2), Gaussian(1)]), Bernoulli(2))
    world = WorldEnergy(columns)
    state = [[0, 1, -1, 0.5], [2, -1, -1, 1.5], [1, 1, 1, -0.5]]
    world.store(state, [[0, 1], [1, 1], [0, 0]], [1.0, 2.0, 3.0], state[::-1], [0, 0, 1])
    asked = world.conditional(action=[[1, 1]])
    assert asked.mean("reward").tolist() == pytest.approx([2.0], abs=1e-6)
    assert asked.probs("done").tolist()[0] == pytest.approx([1, 0], abs=1e-6)
    drawn = asked.sample(torch.Generator().manual_seed(0))
    assert drawn["state"][0, :3].tolist() == [2, -1, -1]
    assert not columns.finite
    with pytest.raises(ParameterError, match="real states or actions"):
        world.plan()


@pytest.mark.parametrize(
    ("column", "value", "error", "words"),
    [
        ("reward", float("nan"), DomainError, "1 of 60 values of reward are NaN"),
        ("state", 7, DomainError, "the state 7 where there are 4 choices"),
        ("next_state", 0.5, DomainError, "the next_state 0.5"),
        ("action", -1, DomainError, "the action -1"),
    ],
)
def test_values_that_are_none_are_refused_and_not_stored(column, value, error, words) -> None:
    names = ("state", "action", "reward", "next_state", "done")
    given = {name: part.double() for name, part in zip(names, walk(), strict=True)}
    given[column][5] = value
    world = WorldEnergy(WorldColumns(Categorical(STATES), Categorical(ACTIONS)))
    with pytest.raises(error, match=words):
        world.store(**given)
    assert len(world) == 0


def test_questions_that_are_none_are_refused() -> None:
    world = WorldEnergy(WorldColumns(Categorical(STATES), Categorical(ACTIONS)))
    with pytest.raises(ParameterError, match="a world without transitions"):
        world.plan()
    with pytest.raises(ParameterError, match="a world without transitions"):
        world.conditional(state=[1])
    world.store(*walk())
    with pytest.raises(ParameterError, match="the column 'place'"):
        world.conditional(place=[1])
    with pytest.raises(ShapeError, match="2 of state, 1 of action"):
        world.conditional(state=[1, 2], action=[0])
    with pytest.raises(ShapeError, match="values of state of shape"):
        world.conditional(state=[[1, 2]])
    with pytest.raises(ShapeError, match="3 of state, 1 of action"):
        world.store([0, 1, 2], [0], [0.0], [1], [False])
    with pytest.raises(ParameterError, match="probabilities of the real column"):
        world.conditional(state=[1]).probs("reward")
    with pytest.raises(ParameterError, match="in a column"):
        WorldColumns(ig.Multinomial(3, draws=2), Categorical(2))


def test_real_transitions_stay_in_the_order_in_which_they_were_met() -> None:
    world = WorldEnergy(WorldColumns(Gaussian(1), Categorical(2)))
    for state in (3.0, 1.0, 2.0):
        world.store([[state]], [0], [0.0], [[state]], [False])
    assert world.rows[:, 0].tolist() == [3.0, 1.0, 2.0]
