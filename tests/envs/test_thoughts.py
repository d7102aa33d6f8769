"""Thoughts before acts, and the questions about facts that need them."""

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from isinglass.envs import FactChains, LargeAction, Thoughts
from isinglass.errors import DomainError, IsinglassError, ParameterError
from isinglass.thinking.vocabulary import Vocabulary
from tests.seeds import SEED

REACHED = Vocabulary({"reached": 1})


def closure(env):
    """Everything that is reached, by the definition: from the rows alone, in a slow loop."""
    facts = {tuple(row) for row in env.rows}
    words = env.vocabulary.relations
    by = {word: [(x, y) for r, x, y in facts if words[r] == word] for word in words}
    closed = {x for x, kind in by["is of"] if (kind, kind) in by["closed"]}
    reached = {x for x, _ in by["reached"]}
    while new := {y for x, y in by["leads to"] if x in reached and y not in closed} - reached:
        reached |= new
    return reached


def row(seen, subject):
    """The number of the candidate that is a thought of this entity."""
    return 2 + seen["candidates"][2:, 1].tolist().index(subject)


@pytest.mark.parametrize("kind", ["plain", "rules", "branching"])
@pytest.mark.parametrize("doors", [1, 3])
def test_the_right_end_and_it_alone_is_reached(kind, doors):
    env = FactChains((1, 2, 5), kind=kind, doors=doors)
    for episode in range(20):
        seen, info = env.reset(seed=SEED + episode)
        for door in range(doors):
            ends = seen["candidates"][:, 1].tolist()
            reached = closure(env)
            right = [end in reached for end in ends]
            assert sorted(right) == [False, True]
            assert len(env.chain) == info["length"] + 1
            seen, reward, over, _, info = env.step(right.index(True))
            assert reward == 1 / doors
            assert over == (door == doors - 1)


def test_a_wrong_choice_ends_the_episode():
    env = FactChains(doors=3)
    seen, _ = env.reset(seed=SEED)
    wrong = 1 - seen["candidates"][:, 1].tolist().index(env.end)
    assert env.step(wrong)[1:4] == (-1.0, True, False)


def test_both_chains_look_alike_but_for_the_start():
    env = FactChains([4], kind="plain")
    seen, _ = env.reset(seed=SEED)
    facts = [(x, y) for r, x, y in env.rows if env.vocabulary.relations[r] == "leads to"]
    firsts, seconds = ({x for x, _ in facts}, {y for _, y in facts})
    assert len(facts) == 8
    assert len(firsts - seconds) == len(seconds - firsts) == 2
    assert seen["mask"].sum() == 8 + 3


def test_names_are_drawn_anew():
    env = FactChains([3])
    names = [tuple(env.reset(seed=SEED + i)[0]["propositions"][:, 1]) for i in range(5)]
    assert len(set(names)) == 5


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.parametrize("kind", ["plain", "rules", "branching"])
def test_they_are_environments_of_gymnasium(kind):
    check_env(FactChains(kind=kind), skip_render_check=True)
    check_env(Thoughts(FactChains(kind=kind), REACHED), skip_render_check=True)


def test_a_thought_joins_the_set_costs_and_cannot_be_had_twice():
    env = Thoughts(FactChains([3]), REACHED, cost=0.015)
    seen, _ = env.reset(seed=SEED)
    middle = env.unwrapped.chain[1]
    thought = row(seen, middle)
    before = int(seen["mask"].sum())
    assert seen["action_mask"][thought] == 1
    after, reward, over, cut, _ = env.step(thought)
    assert (reward, over, cut) == (-0.015, False, False)
    assert after["mask"].sum() == before + 1
    assert after["propositions"][before].tolist() == seen["candidates"][thought].tolist()
    assert after["action_mask"].tolist() == [
        int(flag and i != thought) for i, flag in enumerate(seen["action_mask"])
    ]
    again, reward, *_ = env.step(thought)  # forbidden: it costs, and changes nothing
    assert reward == -0.015
    assert all(np.array_equal(again[key], after[key]) for key in after)
    assert env.action_masks().tolist() == after["action_mask"].astype(bool).tolist()


def test_what_is_given_is_not_to_be_thought():
    env = Thoughts(FactChains([3]), REACHED)
    seen, _ = env.reset(seed=SEED)
    thoughts = [seen["candidates"][i, 1] for i in np.flatnonzero(seen["action_mask"])[2:]]
    assert env.unwrapped.chain[0] not in thoughts
    assert len(thoughts) == len(set(thoughts)) == 7  # all of the 8 entities but the start


def test_the_budget_counts_from_act_to_act():
    env = Thoughts(FactChains([2], doors=2), REACHED, budget=1)
    seen, _ = env.reset(seed=SEED)
    middle = env.unwrapped.chain[1]
    seen, *_ = env.step(row(seen, middle))
    assert seen["action_mask"].sum() == 2
    seen, _, over, _, _ = env.step(seen["candidates"][:2, 1].tolist().index(env.unwrapped.end))
    assert not over
    assert seen["action_mask"].sum() > 2
    assert [*env.asserted[:, 1]] == [middle]  # it stays
    assert middle in seen["propositions"][seen["mask"].astype(bool), 1]
    seen, _ = env.reset()
    assert len(env.asserted) == 0


def test_no_budget_leaves_the_acts():
    seen, _ = Thoughts(FactChains(), REACHED, budget=0).reset(seed=SEED)
    assert np.flatnonzero(seen["action_mask"]).tolist() == [0, 1]


def test_relations_of_two_arguments_are_asserted_of_ordered_pairs():
    words = Vocabulary({"leads to": 2, "before": 2})
    env = Thoughts(FactChains([1]), words)
    seen, _ = env.reset(seed=SEED)
    rows = seen["candidates"][2:][seen["action_mask"][2:].astype(bool)]
    new = env.relations[1]
    assert new == 6  # after the six of the environment
    assert (rows[:, 0] == new).sum() == 4 * 3  # four entities
    assert (rows[:, 0] == 0).sum() == 4 * 3 - 2  # two facts are given
    assert (rows[:, 1] != rows[:, 2]).all()


@pytest.mark.usefixtures("unannotated")
def test_bad_input_is_refused_by_name():
    with pytest.raises(ParameterError, match=r"FactChains.*kind = 'odd'"):
        FactChains(kind="odd")
    with pytest.raises(ParameterError, match=r"lengths up to 4 where longest = 2"):
        FactChains([4], longest=2)
    with pytest.raises(DomainError, match="a length of 9"):
        FactChains().reset(options={"length": 9})
    with pytest.raises(ParameterError, match=r"Thoughts.*'candidates'"):
        Thoughts(LargeAction(), REACHED)
    with pytest.raises(ParameterError, match="budget"):
        Thoughts(FactChains(), REACHED, budget=-1)
    with pytest.raises(ParameterError, match="cost"):
        Thoughts(FactChains(), REACHED, cost=-0.1)
    with pytest.raises(ParameterError, match="vocabulary"):
        Thoughts(FactChains(), ["reached"])


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    "call",
    [
        lambda: FactChains(lengths=3),
        lambda: FactChains(lengths=[]),
        lambda: FactChains(lengths=[1.5]),
        lambda: FactChains(longest=0),
        lambda: FactChains(kind=None),
        lambda: FactChains(longest=20_000),
        lambda: FactChains().reset(options=5),
        lambda: FactChains().reset(options={"length": "x"}),
        lambda: Thoughts(None, REACHED),
        lambda: Thoughts(FactChains(), None),
        lambda: Thoughts(FactChains(longest=2_000), Vocabulary(["before"])),
    ],
)
def test_wrong_kinds_are_named(call):
    with pytest.raises(IsinglassError):
        call()


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("make", [FactChains, lambda: Thoughts(FactChains(), REACHED)])
def test_actions_that_are_none_are_named(make):
    env = make()
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(0)
    seen, _ = env.reset(seed=SEED)
    for action in (-1, len(seen["candidates"]), 2**70, None, "x", 0.0, True, [0], np.arange(2)):
        with pytest.raises(DomainError, match="the action"):
            env.step(action)
    wrong = 1 - seen["candidates"][:2, 1].tolist().index(env.unwrapped.end)
    assert env.step(np.array([wrong]))[2]  # as an agent's policy returns it
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(0)
    assert not env.reset(seed=SEED)[0]["mask"].all()


def test_masks_before_an_episode_are_named():
    with pytest.raises(ResetNeeded):
        Thoughts(FactChains(), REACHED).action_masks()
    assert FactChains().render() == ""


@pytest.mark.parametrize("reward", [None, "much", [1.0, 2.0]])
def test_an_environment_without_rewards_is_named(reward):
    class Silent(FactChains):
        def step(self, action):
            seen, _, *rest = super().step(action)
            return seen, reward, *rest

    env = Thoughts(Silent(), REACHED)
    env.reset(seed=SEED)
    with pytest.raises(DomainError, match="the reward"):
        env.step(0)


def test_spaces_hold_what_is_shown():
    env = Thoughts(FactChains((1, 2), longest=6, kind="rules", doors=2), REACHED)
    assert isinstance(env.observation_space, spaces.Dict)
    for episode in range(10):
        seen, _ = env.reset(seed=SEED + episode)
        assert env.observation_space.contains(seen)
