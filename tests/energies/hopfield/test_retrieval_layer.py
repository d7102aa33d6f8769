"""A memory as a layer: attention whose keys, and perhaps values, are the memory's own patterns."""

import pytest
import torch
from torch import nn

import isinglass as ig
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.cases import double

ATTENTION = torch.nn.functional.scaled_dot_product_attention


def learned(**options) -> ig.ModernHopfield:
    return ig.ModernHopfield(nn.Parameter(double(6, 4)), beta=1.5, **options)


def test_one_step_is_attention_to_the_patterns():
    memory, x, values = learned(), double(2, 5, 4, seed=1), double(6, 3, seed=2)
    keys = memory.patterns.expand(2, 6, 4)
    torch.testing.assert_close(memory.attend()(x), ATTENTION(x, keys, keys, scale=1.5))
    read = memory.attend(values=values)(x)
    torch.testing.assert_close(read, ATTENTION(x, keys, values.expand(2, 6, 3), scale=1.5))


@pytest.mark.parametrize("steps", [1, 3])
def test_steps_are_steps_of_recall(steps):
    memory, x, values = learned(), double(5, 4, seed=1), double(6, 3, seed=2)
    asked = memory.attend(steps=steps)(x)
    torch.testing.assert_close(asked, memory.recall(x, max_steps=steps).state)
    before = memory.recall(x, max_steps=steps - 1).state
    read = memory.attend(values=values, steps=steps)(x)
    torch.testing.assert_close(read, memory.read(before, values))


def test_many_steps_recall_without_training():
    memory = ig.ModernHopfield(torch.eye(4).double(), beta=20.0)
    cues = torch.eye(4).double() * 0.7 + 0.1
    torch.testing.assert_close(memory.attend(steps=10)(cues), torch.eye(4).double())


def test_patterns_are_shared_not_copied():
    memory = learned(learn_beta=True)
    one, two = memory.attend(nn.Linear(5, 4).double()), memory.attend(steps=2)
    network = nn.ModuleList([one, two, memory])
    names = [name for name, _ in network.named_parameters()]
    assert names == ["0.memory.patterns", "0.memory.log_beta", "0.query.weight", "0.query.bias"]
    x = double(3, 4, seed=1)
    before = two(x)
    with torch.no_grad():
        memory.patterns.mul_(2)
        memory.beta = 3.0
    assert not torch.equal(two(x), before)
    torch.testing.assert_close(two(x), memory.recall(x, max_steps=2).state)
    one.float()  # the memory, and with it all that was made from it
    assert memory.patterns.dtype == torch.float32
    assert two(x.float()).dtype == torch.float32

    fixed = ig.ModernHopfield(double(6, 4))
    layer = fixed.attend()
    layer.float()
    assert fixed.patterns.dtype == torch.float32
    assert layer.memory.patterns is fixed.patterns
    kept = ["steps", "memory.patterns", "memory.config", "memory.beta"]
    assert list(layer.state_dict()) == kept
    fixed.load_state_dict({"patterns": torch.ones(6, 4), "beta": torch.tensor(1.0)})
    torch.testing.assert_close(layer(torch.zeros(1, 4)), torch.ones(1, 4))


def test_training_moves_the_patterns_the_query_and_the_values():
    memory = learned()
    layer = memory.attend(nn.Linear(5, 4).double(), values=nn.Parameter(double(6, 2)), steps=2)
    x, target = double(30, 5, seed=1), double(30, 2, seed=2)
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(100):
        loss = (layer(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    for old, new in zip(before, layer.parameters(), strict=True):
        assert not torch.equal(old, new)


def test_gradient_is_finite_difference_s():
    layer = learned().attend(nn.Linear(3, 4).double(), values=nn.Parameter(double(6, 2)), steps=2)
    x = double(2, 3, seed=1).requires_grad_()
    names = [name for name, _ in layer.named_parameters()]
    values = [parameter.detach().clone().requires_grad_() for parameter in layer.parameters()]

    def call(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), x)

    assert torch.autograd.gradcheck(call, (x, *values))
    torch.testing.assert_close(torch.vmap(layer)(x), layer(x))


def test_other_memories_with_association_weights():
    memory = ig.energies.SubsetHopfield(double(6, 4), subset=2)
    x = double(3, 4, seed=1)
    torch.testing.assert_close(memory.attend()(x), memory.cccp_update(x))


def test_bad_input():
    memory = learned()
    with pytest.raises(ShapeError, match=r"\(\*batch, 4\), found \(2, 3\)"):
        memory.attend()(double(2, 3))
    with pytest.raises(ShapeError, match="6 patterns"):
        memory.attend(values=double(5, 2))
    with pytest.raises(DomainError, match="the values"):
        memory.attend(values=torch.full((6, 2), torch.nan).double())
    with pytest.raises(ParameterError, match="steps"):
        memory.attend(steps=0)


def test_repr_says_what_it_asks():
    shown = repr(learned().attend(nn.Linear(5, 4), steps=2))
    assert "6 patterns of 4" in shown
    assert "steps=2" in shown
