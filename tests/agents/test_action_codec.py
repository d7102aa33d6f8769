"""Actions as states of units: round trips, orders, fixed parts, and spaces that are refused."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from isinglass.agents import FreeEnergyQ
from isinglass.agents.actions.action_codec import ActionCode
from isinglass.errors import DomainError, ParameterError
from tests.agents.small import SPACES, Guarded, every_action

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


@every_space
def test_every_action_is_one_state_of_the_units_and_back(space):
    """In the order of the units' own list, which joint masks follow."""
    code, actions = ActionCode.of(space), every_action(space)
    states = code.encode(torch.tensor(actions.reshape(len(actions), -1)).float())
    assert torch.equal(states.double(), code.unit.enumerate_states())
    decoded = code.decode(states).numpy()
    np.testing.assert_array_equal(decoded, actions)
    assert all(space.contains(action) for action in decoded)


@every_space
def test_parts_that_are_fixed(space):
    code, actions = ActionCode.of(space), every_action(space)
    values = torch.tensor(actions.reshape(len(actions), -1)).double()
    states, fixed = code.fixed_units(values)
    assert fixed.all()
    assert torch.equal(states.double(), code.unit.enumerate_states())
    values[:, 0] = torch.nan
    states, fixed = code.fixed_units(values)
    assert torch.equal(fixed, (code.unit.variable_ids() > 0).expand(fixed.shape))
    same = code.unit.enumerate_states()
    assert torch.equal(states[fixed].double(), same[fixed])


@every_space
@pytest.mark.parametrize("value", [0.5, 9, -9, np.inf])
def test_values_that_an_action_cannot_have(space, value):
    actions = every_action(space)
    values = torch.tensor(actions.reshape(len(actions), -1)).double()
    values[0, -1] = value
    with pytest.raises(DomainError, match="1 fixed values outside the action space, such as"):
        ActionCode.of(space).fixed_units(values)


def test_boxes_are_as_they_are_scaled():
    code = ActionCode.of(spaces.Box(np.array([-2, 0]), np.array([2, 10]), dtype=np.float32))
    assert code.continuous
    values = torch.tensor([[-1.0, 0.25], [torch.nan, 1.0]])
    assert torch.equal(code.encode(values[:1]), values[:1])
    assert code.decode(torch.tensor([[-3.0, 0.5]])).tolist() == [[-1.0, 0.5]]
    states, fixed = code.fixed_units(values)
    assert fixed.tolist() == [[True, True], [False, True]]
    assert states.tolist() == [[-1.0, 0.25], [0.0, 1.0]]
    with pytest.raises(DomainError, match="outside the box"):
        code.fixed_units(torch.tensor([[0.0, 1.1]]))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-np.inf, 1, (2,)),
        spaces.Box(0, 255, (2,), np.uint8),
        spaces.Dict(),
        spaces.Tuple([]),
        spaces.Text(3),
        spaces.Dict({"bits": spaces.MultiBinary(2), "word": spaces.Text(3)}),
        spaces.Dict({"go": spaces.Tuple([spaces.Box(0, 9, (2,), np.int64)])}),
        spaces.Sequence(spaces.Discrete(2)),
    ],
    ids=str,
)
def test_spaces_that_are_not_supported(space):
    with pytest.raises(ParameterError, match=r"(?s)action space .*MultiBinary, Disc"):
        ActionCode.of(space)
    env = Guarded(spaces.Discrete(2))
    env.action_space = space
    with pytest.raises(ParameterError, match="MultiBinary, Disc"):
        FreeEnergyQ("MlpPolicy", env)
