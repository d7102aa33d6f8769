"""Keys with values."""

import pytest
import torch
from torch import nn

import isinglass as ig
from isinglass.errors import DomainError, FileError, IntractableError, ParameterError, ShapeError
from tests.cases import double
from tests.seeds import seeded

KEYS = {
    "softmax": lambda x: ig.ModernHopfield(x, 30.0),
    "entmax": lambda x: ig.SparseHopfield(x, 30.0),
    "subsets": lambda x: ig.SubsetHopfield(x, 30.0, 1),
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("size", [1, 3, 50])
def test_noisy_keys_find_their_values(name, size):
    keys = nn.functional.normalize(double(40, 32), dim=-1)
    values = double(40, size, seed=1)
    memory = ig.HeteroMemory(KEYS[name](keys), values)
    found = memory.recall(keys + 0.05 * double(40, 32, seed=2))
    torch.testing.assert_close(found.values, values, atol=1e-3, rtol=0)
    assert torch.equal(found.weights.argmax(-1), torch.arange(40))
    assert found.recall.converged.all()
    assert found.values.shape == (40, size)


def test_value_is_attention():
    query, key, value = double(5, 4), double(9, 4, seed=1), double(9, 3, seed=2)
    memory = ig.HeteroMemory(ig.ModernHopfield(key, 0.5), value)
    torch.testing.assert_close(
        memory.read(query), nn.functional.scaled_dot_product_attention(query, key, value, scale=0.5)
    )


def test_what_recall_reports_is_the_keys_own():
    memory = ig.HeteroMemory(ig.ModernHopfield(double(6, 3), 2.0), double(6, 2))
    cues = double(2, 4, 3, seed=1)
    found, own = (
        memory.recall(cues, trace=True, max_steps=7),
        memory.memory.recall(cues, max_steps=7),
    )
    torch.testing.assert_close(found.recall.state, own.state)
    torch.testing.assert_close(found.recall.energy, memory(own.state))
    assert found.recall.energy_trace is not None
    assert found.values.shape == (2, 4, 2)
    assert found.weights.shape == (2, 4, 6)
    torch.testing.assert_close(found.weights, memory.memory.association(own.state))
    torch.testing.assert_close(found.weights @ memory.values, found.values)
    torch.testing.assert_close(memory.recall(cues[0, 0], max_steps=7).values, found.values[0, 0])
    torch.testing.assert_close(
        ig.recall(memory, cues, ig.CCCP(), max_steps=7).state, own.state
    )  # it is an energy, too


def test_keys_and_values_are_learned():
    memory = ig.HeteroMemory(
        ig.ModernHopfield(nn.Parameter(double(6, 3)), 2.0, learn_beta=True),
        nn.Parameter(double(6, 2)),
    )
    names = {name for name, _ in memory.named_parameters()}
    assert names == {"values", "memory.patterns", "memory.log_beta"}
    memory.read(double(4, 3)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in memory.parameters())


@pytest.mark.parametrize("name", KEYS)
def test_saved_and_loaded(name, tmp_path):
    memory = ig.HeteroMemory(KEYS[name](nn.Parameter(double(6, 3))), double(6, 2))
    ig.save(memory, tmp_path / "memory.safetensors")
    copy = ig.load(tmp_path / "memory.safetensors")
    assert isinstance(copy, ig.HeteroMemory)
    cues = double(4, 3, seed=1)
    assert torch.equal(copy.recall(cues).values, memory.recall(cues).values)
    assert isinstance(copy.keys, nn.Parameter)
    assert not isinstance(copy.values, nn.Parameter)


def test_sampling_is_the_keys_own():
    memory = ig.HeteroMemory(ig.ModernHopfield(double(6, 3), 2.0), double(6, 2))
    state = double(5, 3)
    torch.testing.assert_close(memory(state), memory.memory(state))
    drawn = ig.run(
        ig.BlockGibbs(), memory.memory, state, steps=3, temperature=0.5, generator=seeded(1)
    )
    assert drawn.shape == state.shape
    with pytest.raises(IntractableError, match="exact conditionals"):
        ig.run(ig.BlockGibbs(), memory, state, steps=3, temperature=0.5)


def test_bad_input(unannotated):
    keys = ig.ModernHopfield(double(6, 3))
    with pytest.raises(ShapeError, match=r"\(5, 2\) for 6 patterns"):
        ig.HeteroMemory(keys, double(5, 2))
    with pytest.raises(ShapeError, match="rows"):
        ig.HeteroMemory(keys, double(6))
    with pytest.raises(DomainError, match="12 of 12 values"):
        ig.HeteroMemory(keys, torch.full((6, 2), torch.nan).double())
    with pytest.raises(DomainError, match=r"float32.*float64"):
        ig.HeteroMemory(keys, double(6, 2).float())
    with pytest.raises(DomainError, match="as_tensor"):
        ig.HeteroMemory(keys, [[1.0]] * 6)
    with pytest.raises(ParameterError, match="association weights"):
        ig.HeteroMemory(ig.ClassicalHopfield(double(6, 3).sign()), double(6, 2))
    memory = ig.HeteroMemory(keys, double(6, 2))
    with pytest.raises(ShapeError, match="3"):
        memory.recall(double(2, 4))
    with pytest.raises(DomainError, match="infinite"):
        memory.recall(torch.full((1, 3), torch.inf).double())


def test_keys_of_a_class_that_is_not_imported_are_named():
    config = ig.HeteroMemory(ig.ModernHopfield(double(3, 4)), double(3, 2)).config()
    with pytest.raises(FileError, match=r"absent\.Memory.*Import"):
        ig.HeteroMemory.from_config(config | {"kind": "absent.Memory"})
