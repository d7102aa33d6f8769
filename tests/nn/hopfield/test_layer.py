"""The Hopfield layer: the slow sum over patterns, ModernHopfield, torch's attention."""

import dataclasses
import math
from typing import get_type_hints

import pytest
import torch
from torch import Tensor, nn

import isinglass as ig
from isinglass.analysis.metastability import metastable_size
from isinglass.nn import Hopfield, HopfieldLayer, HopfieldOptions, HopfieldPooling
from isinglass.nn.hopfield.keywords import HopfieldKeywords
from tests.cases import double

BARE = {
    f"normalize_{name}": False for name in ("stored_pattern", "state_pattern", "pattern_projection")
}
F64 = {"dtype": torch.float64}


@torch.no_grad()
def slowly(
    state: Tensor,
    stored: Tensor,
    values: Tensor,
    beta: float,
    hidden: Tensor,
    updates: int,
    eps: float = 0.0,
) -> Tensor:
    """One head, row by row and pattern by pattern: the last of the updates reads the values."""

    def blend(xi: Tensor, patterns: Tensor, seen: list[int]) -> Tensor:
        worth = [math.exp(beta * float(stored[i] @ xi)) for i in seen]
        found = torch.zeros(patterns.shape[1], dtype=torch.float64)
        for w, i in zip(worth, seen, strict=True):
            found += w / sum(worth) * patterns[i]
        return found

    rows = []
    for row, xi in enumerate(state):
        seen = [i for i in range(len(stored)) if not hidden[row, i]]
        for _ in range(updates - 1):
            old, xi = xi, blend(xi, stored, seen)
            if float((xi - old).norm()) <= eps:
                break
        rows.append(blend(xi, values, seen))
    return torch.stack(rows)


def randomized(layer: nn.Module, scale: float = 0.5) -> nn.Module:
    """In place, with parameters that are far from special."""
    for number, parameter in enumerate(layer.parameters()):
        parameter.data = double(*parameter.shape, seed=number, scale=scale)
    return layer.eval()


@pytest.mark.parametrize("updates", [1, 2, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_every_head_is_the_slow_sum(updates, masked):
    """With β of its own, patterns of its own size to read, and a row that may see nothing."""
    betas = torch.tensor([0.7, 2.5]).double()
    layer = Hopfield(
        6, hidden_size=3, pattern_size=2, num_heads=2, scaling=betas, update_steps_max=updates,
        update_steps_eps=1e-30, disable_out_projection=True, **BARE, **F64,
    )  # fmt: skip
    randomized(layer)
    state, stored = double(2, 4, 6), double(2, 5, 6, seed=1)
    mask = (double(4, 5, seed=2) > 0.5) & torch.tensor(masked)
    mask[1] = masked
    found = layer((stored, state, stored), association_mask=mask)
    maps = [layer.get_submodule(f"project_{name}") for name in ("state", "stored", "projection")]
    for batch in range(2):
        q, k, v = (
            m(x[batch]).unflatten(-1, (2, -1)).transpose(0, 1)
            for m, x in zip(maps, (state, stored, stored), strict=True)
        )
        heads = [
            slowly(q[h], k[h], v[h], float(beta), mask, updates) for h, beta in enumerate(betas)
        ]
        expected = torch.cat(heads, -1)
        torch.testing.assert_close(found[batch], expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("updates", [1, 3, 8])
def test_without_maps_it_is_the_modern_hopfield_net(updates):
    memory = ig.ModernHopfield(double(6, 4), beta=1.7)
    cues = double(5, 4, seed=1)
    layer = Hopfield.static(scaling=1.7, update_steps_max=updates, update_steps_eps=1e-30, **F64)
    expected = cues
    for _ in range(updates):
        expected = memory.cccp_update(expected)
    torch.testing.assert_close(layer((memory.patterns, cues, memory.patterns)), expected)


def test_until_rest_it_is_recall():
    memory = ig.ModernHopfield(double(6, 4), beta=1.7)
    cues = double(5, 4, seed=1)
    layer = Hopfield.static(scaling=1.7, update_steps_max=None, update_steps_eps=1e-12, **F64)
    found = memory.recall(cues, max_steps=5000, tolerance=1e-12)
    assert found.converged.all()
    inputs = (memory.patterns, cues, memory.patterns)
    torch.testing.assert_close(layer(inputs), found.state, rtol=0, atol=1e-9)
    torch.testing.assert_close(layer.energy(inputs)[0], memory(cues))


@pytest.mark.parametrize("extra", [{}, {"add_zero_attn": True}, {"add_bias_kv": True}])
def test_one_update_is_multihead_attention(extra):
    """The same parameters, a padding and an attention mask, the patterns that a head adds."""
    peer = randomized(nn.MultiheadAttention(6, 2, batch_first=True, **extra, **F64))
    layer = Hopfield(
        6, num_heads=2, concat_bias_pattern="add_bias_kv" in extra,
        add_zero_association="add_zero_attn" in extra, **BARE, **F64,
    ).eval()  # fmt: skip
    for name, weight, bias in zip(
        ("state", "stored", "projection"),
        peer.in_proj_weight.chunk(3),
        peer.in_proj_bias.chunk(3),
        strict=True,
    ):
        layer.get_submodule(f"project_{name}").load_state_dict({"weight": weight, "bias": bias})
    layer.get_submodule("project_out").load_state_dict(peer.out_proj.state_dict())
    if "add_bias_kv" in extra:
        layer.bias_stored.data, layer.bias_projection.data = (
            bias.data.reshape(2, 3) for bias in (peer.bias_k, peer.bias_v)
        )
    state, stored, read = (double(3, rows, 6, seed=rows + i) for i, rows in enumerate((4, 5, 5)))
    padding, mask = double(3, 5, seed=8) > 1, double(4, 5, seed=9) > 1
    padding[:, 0] = mask[:, 0] = False
    expected, weights = peer(
        state, stored, read, key_padding_mask=padding, attn_mask=mask, average_attn_weights=False
    )
    inputs = (stored, state, read)
    torch.testing.assert_close(layer(inputs, padding, mask), expected)
    torch.testing.assert_close(layer.association(inputs, padding, mask), weights)
    floats = torch.zeros(4, 5).double().masked_fill(mask, -torch.inf)
    each = floats.expand(6, 4, 5)
    for same in (floats, each, each.reshape(3, 2, 4, 5)):
        torch.testing.assert_close(layer(inputs, padding, same), expected)


def test_what_stands_before_the_association():
    """LayerNorms before the maps, one after them, and the projection through the map of K."""
    layer = Hopfield(
        6, hidden_size=4, normalize_hopfield_space=True, normalize_hopfield_space_affine=True,
        pattern_projection_as_connected=True, normalize_stored_pattern_affine=False,
        normalize_state_pattern_eps=0.3, association_activation="tanh", **F64,
    )  # fmt: skip
    randomized(layer)
    stored, state, read = (double(5, 6, seed=seed) for seed in range(3))
    inner, norm = layer.norm_hopfield_space, torch.nn.functional.layer_norm
    q = norm(state, (6,), layer.norm_state_pattern.weight, layer.norm_state_pattern.bias, 0.3)
    q = norm(layer.project_state(q), (4,), inner.weight, inner.bias)
    k = norm(layer.project_stored(norm(stored, (6,))), (4,), inner.weight, inner.bias)
    v = layer.project_projection(layer.project_stored(layer.norm_pattern_projection(read)))
    p = torch.softmax(q @ k.T / 2, -1)
    expected = torch.tanh(layer.project_out(p @ v))
    inputs = (stored, state, read)
    torch.testing.assert_close(layer(inputs), expected)
    torch.testing.assert_close(layer.association(inputs)[0], p)
    torch.testing.assert_close(layer.get_projected_pattern_matrix(inputs)[0], v)


@pytest.mark.slow
def test_gradients():
    """Of inputs, weights, β, bias patterns and a floating mask, through two updates."""
    beta = nn.Parameter(torch.tensor([0.7, 1.3]).double())
    layer = Hopfield(
        4, hidden_size=2, num_heads=2, scaling=beta, update_steps_max=2, update_steps_eps=1e-30,
        concat_bias_pattern=True, normalize_hopfield_space=True,
        normalize_hopfield_space_affine=True, **F64,
    )  # fmt: skip
    randomized(layer)
    beta.data.abs_()
    assert dict(layer.named_parameters())["scaling"] is beta
    names, values = zip(*layer.named_parameters(), strict=True)
    inputs = tuple(double(1, 3, 4, seed=i).requires_grad_() for i in range(3))
    mask = double(3, 3, seed=5).requires_grad_()

    def call(*tensors):
        parameters = dict(zip(names, tensors[4:], strict=True))
        return torch.func.functional_call(
            layer, parameters, (tensors[:3],), {"association_mask": tensors[3]}
        )

    assert torch.autograd.gradcheck(call, (*inputs, mask, *values))


def test_gradients_of_what_may_see_nothing_are_finite():
    layer = randomized(Hopfield(4, update_steps_max=3, **F64))
    state = double(2, 3, 4).requires_grad_()
    padding = torch.tensor([[True] * 3, [False] * 3])
    found = layer(state, stored_pattern_padding_mask=padding)
    found.sum().backward()
    nothing = layer.get_submodule("project_out").bias
    torch.testing.assert_close(found[0], nothing.expand(3, 4))
    assert (layer.association(state, padding)[0] == 0).all()
    assert (layer.metastable_size(state, padding)[0] == 0).all()
    layer.association(state, padding).square().sum().backward()
    layer.energy(state, padding).sum().backward()
    assert state.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("mask", [torch.ones(3, 3).bool(), torch.full((3, 3), -torch.inf).double()])
def test_what_may_see_nothing_is_pulled_to_zero(mask):
    layer = Hopfield.static(update_steps_max=2, **F64)
    state = double(3, 4)
    assert (layer(state, association_mask=mask) == 0).all()
    energy = layer.energy(state, association_mask=mask)
    torch.testing.assert_close(energy[0], state.square().sum(-1) / 2)
    assert (layer.energy(state, association_mask=mask, updates=1) == 0).all()


@pytest.mark.parametrize("floating", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_no_update_raises_the_energy(normalize, floating):
    """E falls in every head and row, and ξ − ∂E/∂ξ is the update."""
    layer = Hopfield(
        6, num_heads=3, scaling=torch.tensor([0.3, 2.0, 9.0]).double(), add_zero_association=True,
        normalize_hopfield_space=normalize, **F64,
    )  # fmt: skip
    randomized(layer, scale=1.0)
    state, mask = double(2, 5, 6), double(5, 5, seed=1)
    mask = mask if floating else (mask > 0.3) & ~torch.eye(5).bool()
    energies = [layer.energy(state, association_mask=mask, updates=n) for n in range(6)]
    assert energies[0].shape == (2, 3, 5)
    falls = torch.stack(energies).diff(dim=0)
    assert (falls <= 1e-12).all()
    assert (falls[0] < -1e-3).any()


def test_the_update_is_the_gradient_of_the_energy():
    layer = Hopfield.static(scaling=1.3, num_heads=2, **F64)
    state, stored = double(3, 4).requires_grad_(), double(6, 4, seed=1)
    inputs = (stored, state, stored)
    (slope,) = torch.autograd.grad(layer.energy(inputs)[0].sum(), state)
    torch.testing.assert_close(state - slope, layer(inputs)[:, :4])


@pytest.mark.parametrize("updates", [3, None])
def test_a_row_converges_by_itself(updates):
    """Its result does not depend on its neighbors, and it keeps its state when it rests."""
    layer = Hopfield.static(
        scaling=4.0, update_steps_max=updates, update_steps_eps=0.05, num_heads=2, **F64
    )
    stored, cues = double(2, 6, 4), double(2, 5, 4, seed=1)
    together = layer((stored, cues, stored))
    for batch in range(2):
        for row in range(5):
            alone = layer((stored[batch], cues[batch, row : row + 1], stored[batch]))
            torch.testing.assert_close(together[batch, row], alone[0], rtol=0, atol=1e-12)
        seen = torch.zeros(5, 6, dtype=torch.bool)
        expected = slowly(cues[batch], stored[batch], stored[batch], 4.0, seen, updates or 99, 0.05)
        torch.testing.assert_close(together[batch], torch.cat([expected, expected], -1))


def test_each_head_makes_its_own_number_of_updates():
    stored, cues = double(6, 4), double(5, 4, seed=1)
    inputs = (stored, cues, stored)
    counts = (1, 4, 2)
    all_at_once = Hopfield.static(
        num_heads=3, update_steps_max=counts, update_steps_eps=(1e-30, 1e-30, 1e-30), **F64
    )(inputs)
    one_by_one = [
        Hopfield.static(update_steps_max=count, update_steps_eps=1e-30, **F64)(inputs)
        for count in counts
    ]
    torch.testing.assert_close(all_at_once, torch.cat(one_by_one, -1))
    asked = Hopfield.static(num_heads=3, update_steps_max=torch.tensor(counts))
    assert asked.update_steps_max == counts


def test_metastable_size_counts_the_weights():
    layer = randomized(Hopfield(6, num_heads=2, update_steps_max=2, scaling=5.0, **F64))
    state = double(2, 5, 6)
    weights = layer.association(state)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 5).double())
    for mass in (0.9, 0.3):
        sizes = layer.metastable_size(state, mass=mass)
        assert torch.equal(sizes, metastable_size(weights.detach(), mass))
    assert layer.get_association_matrix(state).requires_grad is False
    assert weights.requires_grad


@pytest.mark.parametrize("batch_first", [True, False])
def test_batches_of_every_kind(batch_first):
    layer = randomized(Hopfield(6, num_heads=2, update_steps_max=2, batch_first=batch_first, **F64))
    state, stored = double(3, 4, 6), double(3, 5, 6, seed=1)
    each = [layer((s, q, s)) for q, s in zip(state, stored, strict=True)]
    placed = [x if batch_first else x.transpose(0, 1) for x in (state, stored)]
    together = layer((placed[1], placed[0], placed[1]))
    torch.testing.assert_close(
        together if batch_first else together.transpose(0, 1), torch.stack(each)
    )
    shared = layer((stored[0], placed[0], stored[0]))  # one memory for the whole batch
    expected = torch.stack([layer((stored[0], q, stored[0])) for q in state])
    torch.testing.assert_close(shared if batch_first else shared.transpose(0, 1), expected)
    weights = layer.association((stored[0], placed[0], stored[0]))
    assert weights.shape == (3, 2, 4, 5)
    assert layer.get_projected_pattern_matrix((stored[0], placed[0], stored[0])).shape == (
        3,
        2,
        5,
        3,
    )


def test_dropout_is_unbiased_and_only_in_training():
    layer = Hopfield.static(dropout=0.5, **F64)
    stored, cue = double(6, 4), double(1, 4, seed=1)
    inputs = (stored, cue.expand(20_000, 4), stored)
    dropped = layer(inputs)
    kept = layer.eval()(inputs)
    p = layer.association((stored, cue, stored))[0]
    error = (p.square() @ stored.square() / 20_000).sqrt()  # variance p²(1/keep − 1) a weight
    assert ((dropped.mean(0) - kept[0]).abs() < 5 * error[0]).all()
    assert not torch.equal(dropped[0], dropped[1])
    torch.testing.assert_close(kept[:1], p @ stored)


def test_pooling_and_look_up_are_hopfield_with_their_own_patterns():
    pool = HopfieldPooling(6, quantity=3, num_heads=2, update_steps_max=2, **F64)
    look_up = HopfieldLayer(6, quantity=7, num_heads=2, lookup_weights_as_separated=True, **F64)
    rows = double(4, 5, 6)
    q = pool.pooling_weights
    plain = Hopfield(6, num_heads=2, update_steps_max=2, **F64)
    plain.load_state_dict({k: v for k, v in pool.state_dict().items() if k != "pooling_weights"})
    torch.testing.assert_close(pool(rows), plain((rows, q, rows)).flatten(1))
    torch.testing.assert_close(pool(rows[0]), plain((rows[0], q, rows[0])).flatten())
    torch.testing.assert_close(pool.energy(rows), plain.energy((rows, q, rows)))
    plain = Hopfield(6, num_heads=2, **F64)
    kept = ("lookup_weights", "target_weights")
    plain.load_state_dict({k: v for k, v in look_up.state_dict().items() if k not in kept})
    inputs = (look_up.lookup_weights, rows, look_up.target_weights)
    torch.testing.assert_close(look_up(rows), plain(inputs))
    assert look_up.association(rows).shape == (4, 2, 5, 7)
    assert look_up.metastable_size(rows).shape == (4, 2, 5)


def test_pooling_keeps_the_batch_in_the_second_dimension_apart():
    one = HopfieldPooling(6, quantity=3, batch_first=False, **F64)
    other = HopfieldPooling(6, quantity=3, **F64)
    other.load_state_dict(one.state_dict())
    rows = double(4, 5, 6)
    torch.testing.assert_close(one(rows.transpose(0, 1)), other(rows))


def test_what_is_not_trainable_stays():
    look_up = HopfieldLayer(
        4, trainable=False, lookup_weights_as_separated=True, lookup_targets_as_trainable=False
    )
    assert not look_up.lookup_weights.requires_grad
    assert not look_up.target_weights.requires_grad
    assert not HopfieldPooling(4, trainable=False).pooling_weights.requires_grad
    assert HopfieldPooling(4).pooling_weights.requires_grad


def test_state_dict_holds_beta_and_brings_it_back():
    layer = Hopfield(4, num_heads=2, scaling=torch.tensor([0.5, 2.0]))
    assert "scaling" in layer.state_dict()
    other = Hopfield(4, num_heads=2)
    other.load_state_dict(layer.state_dict())
    rows = torch.randn(2, 3, 4)
    torch.testing.assert_close(other(rows), layer(rows))


def test_editors_see_every_option_of_a_layer():
    fields = {field.name: field.type for field in dataclasses.fields(HopfieldOptions)}
    del fields["input_size"]
    assert list(HopfieldKeywords.__annotations__) == list(fields)
    hints = get_type_hints(HopfieldKeywords)
    assert hints == {name: get_type_hints(HopfieldOptions)[name] for name in fields}
