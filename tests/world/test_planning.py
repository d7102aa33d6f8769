"""Planning over stored transitions, against a plain soft value iteration and known optima."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.units import Categorical
from isinglass.world import WorldColumns, WorldEnergy
from isinglass.world.moves import Changes, Moves
from isinglass.world.sharing import unblocked
from tests.seeds import seeded
from tests.world.test_world_energy import ACTIONS, STATES, walk, world_of


def plain_plan(model, discount: float, temperature: float, steps: int) -> np.ndarray:
    """Soft value iteration by loops over every entry of the model."""
    states, actions = model.columns.states, model.columns.actions
    value = np.zeros(states)
    entries = list(
        zip(
            model.pair.tolist(), model.after.tolist(), model.probability.tolist(),
            model.reward.tolist(), model.done.tolist(), model.stuck.tolist(), strict=True,
        )
    )  # fmt: skip
    for _ in range(steps):
        q = np.full((states, actions), -np.inf)
        for pair, after, p, r, done, stuck in entries:
            old = q[pair // actions, pair % actions]
            far = 1 / (1 - discount * (1 - done))
            onward = stuck * r * far + (1 - stuck) * (r + discount * (1 - done) * value[after])
            q[pair // actions, pair % actions] = (0 if old == -np.inf else old) + p * onward
        top = q.max(1)
        if temperature == 0:
            value = top
        else:
            value = top + temperature * np.log(np.exp((q - top[:, None]) / temperature).sum(1))
    return q


@pytest.mark.parametrize("temperature", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("relative", [False, True])
def test_plan_is_plain_soft_value_iteration(temperature: float, relative: bool) -> None:
    world = world_of(*walk(120), relative=relative)
    plan = world.plan(discount=0.8, temperature=temperature)
    wanted = plain_plan(world.model(), 0.8, temperature, 250)
    np.testing.assert_allclose(plan.q.numpy(), wanted, atol=1e-8)


def test_probabilities_of_stored_pairs_are_counts_without_sharing() -> None:
    state, action, reward, after, done = walk(200)
    model = world_of(state, action, reward, after, done, relative=False).model()
    for pair, to, probability in zip(model.pair, model.after, model.probability, strict=True):
        mine = (state == pair // ACTIONS) & (action == pair % ACTIONS)
        assert float(probability) == pytest.approx(float((after[mine] == to).double().mean()))


def test_probabilities_of_every_pair_add_up() -> None:
    model = world_of(*walk(50)).model()
    total = torch.zeros(STATES * ACTIONS, dtype=torch.float64)
    total.index_add_(0, model.pair, model.probability)
    torch.testing.assert_close(total, model.known.double())


def test_policy_and_values_fit() -> None:
    plan = world_of(*walk(200)).plan(discount=0.9, temperature=0.1)
    probs = plan.probs(range(STATES))
    torch.testing.assert_close(probs.sum(-1), torch.ones(STATES, dtype=torch.float64))
    entropy = -(probs * probs.log()).sum(-1)
    mean = (probs * plan.q).sum(-1)
    torch.testing.assert_close(plan.value, mean + 0.1 * entropy)
    drawn = torch.stack(
        [plan.sample([1], torch.Generator().manual_seed(seed)) for seed in range(500)]
    )
    share = float((drawn == 2).double().mean())
    assert abs(share - float(probs[1, 2])) < 5 * (0.25 / 500) ** 0.5


def corridor(length: int = 6, *, keep: slice = slice(None), relative: bool = True) -> WorldEnergy:
    """A corridor in which action 1 leads on and 0 back; reaching the end is worth 1."""
    state = torch.arange(length - 1).repeat(2)
    action = torch.arange(2).repeat_interleave(length - 1)
    after = (state + 2 * action - 1).clamp(0, length - 1)
    world = WorldEnergy(WorldColumns(Categorical(length), Categorical(2)), relative=relative)
    ends = after == length - 1
    world.store(*(part[keep] for part in (state, action, ends.double(), after, ends)))
    return world


def test_values_of_a_corridor_are_powers_of_the_discount() -> None:
    plan = corridor(relative=False).plan(discount=0.5)
    assert plan.value[:5].tolist() == pytest.approx([0.5**k for k in (4, 3, 2, 1, 0)])
    near = corridor(relative=False).plan(discount=1.0, horizon=2)
    assert near.value[:5].tolist() == pytest.approx([0, 0, 0, 1, 1])


def test_another_goal_or_reward_needs_no_learning() -> None:
    world = corridor()
    assert world.plan(goal=0).action([1, 2, 3]).tolist() == [0, 0, 0]
    reward = torch.zeros(6)
    reward[2] = 1.0
    assert world.plan(reward, discount=0.5).action([0, 1, 3]).tolist() == [1, 1, 0]
    pairs = torch.zeros(6, 2)
    pairs[:, 0] = 1.0
    assert world.plan(pairs, discount=0.5).action([1, 2]).tolist() == [0, 0]


def test_what_was_not_met_is_refused_tried_or_foretold() -> None:
    lacking = corridor(keep=slice(0, 8), relative=False)  # the step that ends it is not there
    refused = lacking.plan(discount=0.5)
    assert refused.q[4].tolist()[1] == -torch.inf
    hopeful = lacking.plan(discount=0.5, unmet="optimistic")
    assert hopeful.action([2, 3, 4]).tolist() == [1, 1, 1]
    shared = corridor(13)
    shared.forget(state=5, action=1)
    assert bool(shared.model().known.reshape(13, 2)[5, 1])
    assert shared.plan(discount=0.9).action([3, 4, 5]).tolist() == [1, 1, 1]
    with pytest.raises(DomainError, match="state 5, of which no action was ever met"):
        refused.action([5])


def test_walls_that_were_never_entered_are_foretold() -> None:
    """A room with a wall down the middle: what is no state is not walked into."""
    size = 7
    open_cells = [(i, j) for i in range(size) for j in range(size) if j != 3 or i == size - 1]
    moves = [(0, -1), (1, 0), (0, 1), (-1, 0)]
    transitions = []
    for i, j in open_cells:
        for action, (down, right) in enumerate(moves):
            to = (i + down, j + right)
            to = to if to in open_cells else (i, j)
            transitions.append((i * size + j, action, 0.0, to[0] * size + to[1], False))
    generator = torch.Generator().manual_seed(0)
    kept = torch.randperm(len(transitions), generator=generator)[: len(transitions) // 2]
    columns = [torch.tensor([float(transitions[k][c]) for k in kept]) for c in range(5)]
    world = WorldEnergy(WorldColumns(Categorical(size * size), Categorical(4)))
    world.store(*columns)
    assert world.sharing().layout == (size, size)
    plan = world.plan(goal=size - 1, discount=0.95)
    index = {(s, a): to for s, a, _, to, _ in transitions}
    place = 0
    for _ in range(40):
        place = index[place, int(plan.action([place]))]
        if place == size - 1:
            break
    assert place == size - 1


def test_plans_that_are_none_are_refused() -> None:
    world = corridor()
    with pytest.raises(ParameterError, match="discount = 1 without a horizon"):
        world.plan(discount=1.0)
    with pytest.raises(ParameterError, match="both a reward and a goal"):
        world.plan(torch.zeros(6), goal=1)
    with pytest.raises(ShapeError, match=r"rewards of shape \(3,\)"):
        world.plan(torch.zeros(3))
    with pytest.raises(DomainError, match="NaN or infinite"):
        world.plan(torch.full((6,), torch.nan))
    with pytest.raises(ParameterError, match="unmet"):
        world.plan(unmet="guess")
    lonely = WorldEnergy(WorldColumns(Categorical(4), Categorical(1)), relative=False)
    lonely.store([0], [0], [0.0], [1], [False])
    with pytest.raises(DomainError, match=r"the goal \[3\], where nothing leads"):
        lonely.plan(goal=3)


def test_episodes_that_end_by_chance_are_worth_what_they_are() -> None:
    """A reward of 1 a step and an end with probability ½: 2 in all, whatever is far away."""
    generator = torch.Generator().manual_seed(0)
    state, after = torch.randint(2, (2, 4_000), generator=generator)
    done = torch.rand(4_000, generator=generator) < 0.5
    world = WorldEnergy(WorldColumns(Categorical(2), Categorical(1)))
    world.store(state, 0 * state, torch.ones(4_000), after, done)
    value = world.plan(discount=0.9999).value
    # The share of ends is known to 4σ = 4·√(¼/2000) in each of the two.
    torch.testing.assert_close(value, torch.full_like(value, 2.0), atol=0.2, rtol=0)


@pytest.mark.parametrize("labels", range(6))
def test_what_was_met_once_is_planned_by_whatever_the_cells_are_called(labels: int) -> None:
    generator = torch.Generator().manual_seed(labels)
    name = torch.randperm(20, generator=generator)
    state, action = torch.arange(19).repeat(2), torch.arange(2).repeat_interleave(19)
    after = (state + 2 * action - 1).clamp(0, 19)
    world = WorldEnergy(WorldColumns(Categorical(20), Categorical(2)))
    world.store(name[state], action, (after == 19).double(), name[after], after == 19)
    assert world.plan(discount=0.9).action(name[:19]).tolist() == [1] * 19


def test_where_episodes_end_nothing_more_is_earned() -> None:
    assert float(corridor().plan(discount=0.9).value[5]) == 0
    for goal in (5, [0, 5]):
        plan = corridor().plan(goal=goal, discount=0.9)
        assert float(plan.value.max()) <= 1 + 1e-9
        assert float(plan.value[5]) == 0


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_the_unit_of_the_reward_is_of_no_consequence(size: float) -> None:
    reward = torch.zeros(6)
    reward[5] = size
    assert corridor().plan(reward, discount=0.9).action([0, 1, 2, 3, 4]).tolist() == [1] * 5


def test_what_floats_do_not_hold_is_named() -> None:
    with pytest.raises(DomainError, match="values beyond what floats hold"):
        corridor().plan(temperature=1e-310, discount=0.9)
    with pytest.raises(DomainError, match="beyond 1e"):
        corridor().plan(torch.full((6,), 1e308, dtype=torch.float64))
    with pytest.raises(DomainError, match="beyond 1e"):
        WorldEnergy(WorldColumns(Categorical(2), Categorical(1))).store([0], [0], [1e155], [1], [0])


def test_numbers_stay_whole_in_another_precision() -> None:
    wanted = corridor().plan(discount=0.9).q
    assert torch.equal(corridor().half().plan(discount=0.9).q, wanted)
    assert "10 transitions" in repr(corridor())


@pytest.mark.usefixtures("unannotated")
def test_choices_of_another_world_are_refused() -> None:
    world = corridor()
    with pytest.raises(ParameterError, match="sharing among 7 states, in a world of 6"):
        world.plan(sharing=corridor(7).sharing())
    with pytest.raises(ParameterError, match="sharing = 3"):
        world.plan(sharing=3)
    with pytest.raises(ParameterError, match="start = 3"):
        world.plan(start=3)
    with pytest.raises(DomainError, match="the reward 'x'"):
        world.plan(reward="x")
    with pytest.raises(DomainError, match="bools as state"):
        world.plan(goal=torch.tensor([False, True, False, False, False, False]))
    with pytest.raises(ShapeError, match="2 rows of state"):
        world.forget(state=[0, 1])
    with pytest.raises(ShapeError, match="allowed of shape"):
        world.plan(allowed=torch.ones(6, dtype=torch.bool))


def test_what_is_not_allowed_is_not_planned() -> None:
    allowed = torch.ones(6, 2, dtype=torch.bool)
    allowed[2, 1] = False
    plan = corridor().plan(discount=0.9, allowed=allowed)
    assert float(plan.q[2, 1]) == -torch.inf
    assert float(plan.value[2]) == 0
    assert float(plan.value[3]) > 0


def slipping(chances: list[float], count: int = 400) -> torch.Tensor:
    """p(Δ | a) in the middle of a grid, of two actions that slip by given chances, ``(2, 3)``."""
    draw = seeded(3)
    state = torch.randint(2, 7, (count, 2), generator=draw)
    action = torch.randint(2, (count,), generator=draw)
    slip = torch.multinomial(torch.tensor(chances), count, replacement=True, generator=draw)
    on = torch.ones_like(slip)
    lead = torch.where(action == 0, on, slip - 1), torch.where(action == 0, slip - 1, on)
    after, none = state + torch.stack(lead, -1), torch.zeros(count).double()
    number = torch.tensor([9, 1])
    moves = Moves(
        (state * number).sum(-1), action, (after * number).sum(-1), none, none, none + 1, 81, 2
    )
    changes = Changes.seen(moves, (9, 9))
    base, _ = unblocked(moves, changes, torch.ones(81, dtype=torch.bool), 1.0)
    moving = torch.ones_like(base, dtype=torch.bool)
    moving[changes.still] = False
    torch.testing.assert_close(base[~moving], torch.zeros(2).double())
    return base[moving].reshape(2, len(set(slip.tolist())))


def test_chances_are_drawn_to_each_other_where_they_are_alike_and_nowhere_else() -> None:
    # A table of 200 errs by 0.03; what was drawn has the same sum.
    assert (slipping([1 / 3, 1 / 3, 1 / 3]) - 1 / 3).abs().max() < 0.02
    uneven = slipping([0.8, 0.15, 0.05])
    torch.testing.assert_close(uneven.sum(-1), torch.ones(2).double())
    spread = (0.8 * 0.2 / 200) ** 0.5
    assert (uneven - torch.tensor([0.8, 0.15, 0.05]).double()).abs().max() < 5 * spread
    # Where an action leads to one place alone nothing is drawn anywhere.
    torch.testing.assert_close(slipping([0.0, 1.0, 0.0]), torch.ones(2, 1).double())
