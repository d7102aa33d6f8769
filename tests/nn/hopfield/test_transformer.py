"""Encoder and decoder layers, and what is brought over from hflayers."""

import math

import pytest
import torch
from torch import Tensor, nn

from isinglass.errors import ParameterError, ShapeError
from isinglass.integrations import hflayers_options, import_hflayers_state
from isinglass.nn import (
    Hopfield,
    HopfieldDecoderLayer,
    HopfieldEncoderLayer,
    HopfieldLayer,
)
from tests.cases import double
from tests.nn.hopfield.test_layer import BARE, F64, randomized


def test_encoder_is_torch_s_with_the_same_weights():
    peer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **F64).eval()
    layer = HopfieldEncoderLayer(Hopfield(8, num_heads=2, **BARE), 16).double().eval()
    import_hflayers_state(layer, as_hflayers(peer))
    rows, causal = double(3, 5, 8), torch.ones(5, 5).triu(1).bool()
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = True
    found = layer(rows, src_mask=causal, src_key_padding_mask=padding)
    expected = peer(rows, src_mask=causal, src_key_padding_mask=padding)
    torch.testing.assert_close(found, expected)


def test_decoder_is_torch_s_with_the_same_weights():
    peer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, **F64).eval()
    association = Hopfield(8, num_heads=2, **BARE)
    layer = HopfieldDecoderLayer(association, association, 16).double().eval()
    import_hflayers_state(layer, as_hflayers(peer))
    rows, memory, causal = double(3, 5, 8), double(3, 7, 8, seed=1), torch.ones(5, 5).triu(1).bool()
    padding = torch.zeros(3, 7, dtype=torch.bool)
    padding[2, 4:] = True
    masks = {"tgt_mask": causal, "memory_key_padding_mask": padding}
    torch.testing.assert_close(layer(rows, memory, **masks), peer(rows, memory, **masks))
    among, crossed = layer.association(rows, memory, **masks)
    assert among.shape == (3, 2, 5, 5)
    assert (crossed[2, ..., 4:] == 0).all()
    torch.testing.assert_close(crossed.sum(-1), torch.ones(3, 2, 5).double())
    energies, sizes = layer.energy(rows, memory), layer.metastable_size(rows, memory)
    assert [one.shape for one in (*energies, *sizes)] == [(3, 2, 5)] * 4
    torch.testing.assert_close(
        layer.get_association_matrix_self(rows), layer.association(rows, memory)[0]
    )


def as_hflayers(peer: nn.Module) -> dict[str, Tensor]:
    """The state of torch's encoder or decoder layer, under the names of hflayers."""
    names = {
        "linear1": "linear_residual",
        "linear2": "linear_output",
        "self_attn": "hopfield_association",
        "norm1": "norm_residual",
        "norm2": "norm_output",
    }
    if hasattr(peer, "multihead_attn"):
        names |= {
            "self_attn": "hopfield_association_self",
            "multihead_attn": "hopfield_association_cross",
            "norm1": "norm_residual_self",
            "norm2": "norm_residual_cross",
            "norm3": "norm_output",
        }
    state = {}
    for name, values in peer.state_dict().items():
        part, _, rest = name.partition(".")
        inner = "association_core." if "attn" in part else ""
        state[f"{names[part]}.{inner}{rest}"] = values
    return state


def test_encoder_shows_its_association():
    layer = HopfieldEncoderLayer(Hopfield(8, num_heads=2, **F64)).eval()
    assert layer(double(2, 3, 8)).dtype == torch.float64
    rows, inner = double(3, 5, 8), layer.hopfield_association
    torch.testing.assert_close(layer.association(rows), inner.association(rows))
    torch.testing.assert_close(layer.energy(rows), inner.energy(rows))
    assert torch.equal(layer.metastable_size(rows), inner.metastable_size(rows))
    torch.testing.assert_close(layer.get_association_matrix(rows), layer.association(rows))
    assert (layer.input_size, layer.output_size, layer.batch_first) == (8, 8, True)


def test_blocks_take_copies_drawn_anew():
    association = Hopfield(8, scaling=nn.Parameter(torch.tensor([2.0])))
    one, other = HopfieldEncoderLayer(association), HopfieldEncoderLayer(association)
    weights = [x.hopfield_association.project_out.weight for x in (one, other)]
    assert not torch.equal(weights[0], weights[1])
    assert one.hopfield_association.scaling.item() == 2.0
    association.project_out.weight.data.zero_()
    assert bool(weights[0].any())


@pytest.mark.parametrize("separate", [False, True])
def test_import_puts_every_row_in_its_place(separate):
    """From one matrix of queries, keys and values, and from three."""
    sizes = {"pattern_size": 3} if separate else {}
    layer = HopfieldLayer(
        4, quantity=5, num_heads=2, concat_bias_pattern=True, normalize_hopfield_space=True,
        normalize_hopfield_space_affine=True, **sizes, **F64,
    )  # fmt: skip
    inner, read = 4, 6 if separate else 4
    q, k, v = double(inner, 4), double(inner, 4, seed=1), double(read, 4, seed=2)
    core = {"q_proj_weight": q, "k_proj_weight": k, "v_proj_weight": v}
    if not separate:
        core = {"in_proj_weight": torch.cat([q, k, v])}
    bias = double(2 * inner + read, seed=3)
    core |= {
        "in_proj_bias": bias,
        "out_proj.weight": double(4, read, seed=4),
        "out_proj.bias": double(4, seed=5),
        "bias_k": double(1, 1, inner, seed=6),
        "bias_v": double(1, 1, read, seed=7),
        "p_norm_weight": double(2, seed=8),
        "p_norm_bias": double(2, seed=9),
    }
    state = {f"hopfield.association_core.{name}": values for name, values in core.items()}
    for seed, name in enumerate(("stored_pattern", "state_pattern", "pattern_projection")):
        state[f"hopfield.norm_{name}.weight"] = double(4, seed=10 + seed)
        state[f"hopfield.norm_{name}.bias"] = double(4, seed=20 + seed)
    state["lookup_weights"] = double(1, 5, 4, seed=30)
    import_hflayers_state(layer, state)
    torch.testing.assert_close(layer.project_state.weight.data, q)
    torch.testing.assert_close(layer.project_stored.weight.data, k)
    torch.testing.assert_close(layer.project_projection.weight.data, v)
    torch.testing.assert_close(layer.project_stored.bias.data, bias[inner : 2 * inner])
    torch.testing.assert_close(layer.project_projection.bias.data, bias[2 * inner :])
    torch.testing.assert_close(layer.bias_projection.data, core["bias_v"].reshape(2, -1))
    torch.testing.assert_close(layer.norm_hopfield_space.bias.data, core["p_norm_bias"])
    torch.testing.assert_close(layer.lookup_weights.data, state["lookup_weights"][0])
    assert float(layer.scaling[0]) == 1 / math.sqrt(2)


def test_import_says_what_is_missing_unknown_or_misshapen():
    layer = randomized(Hopfield(4, **BARE))
    before = {name: values.clone() for name, values in layer.state_dict().items()}
    state = {
        "association_core.in_proj_weight": torch.ones(12, 4),
        "association_core.in_proj_bias": torch.ones(12),
        "association_core.out_proj.weight": torch.ones(4, 4),
    }
    with pytest.raises(ParameterError, match=r"the state lacks project_out\.bias"):
        import_hflayers_state(layer, state)
    whole = state | {"association_core.out_proj.bias": torch.ones(4)}
    with pytest.raises(ParameterError, match=r"no place for norm_state_pattern\.weight"):
        import_hflayers_state(layer, whole | {"norm_state_pattern.weight": torch.ones(4)})
    with pytest.raises(
        ShapeError, match=r"project_out\.bias of shape \(5,\), the layer's is \(4,\)"
    ):
        import_hflayers_state(layer, whole | {"association_core.out_proj.bias": torch.ones(5)})
    with pytest.raises(ShapeError, match="4 rows more"):
        import_hflayers_state(layer, whole | {"association_core.in_proj_weight": torch.ones(16, 4)})
    for name, values in layer.state_dict().items():  # nothing was written
        assert torch.equal(values, before[name])
    import_hflayers_state(layer, whole)
    assert (layer.project_state.weight == 1).all()


def test_options_of_hflayers():
    assert hflayers_options({})["update_steps_max"] == 1
    assert hflayers_options({"update_steps_max": 3})["update_steps_max"] == 4
    assert hflayers_options({"update_steps_max": None})["update_steps_max"] is None
    steps = torch.tensor([0, -1, 2])
    for given in (steps, [0, -1, 2], (0, None, 2)):
        assert hflayers_options({"update_steps_max": given})["update_steps_max"] == (1, None, 3)
    assert hflayers_options({"update_steps_max": -1})["update_steps_max"] is None
    with pytest.raises(ParameterError, match="update_steps_max = True"):
        hflayers_options({"update_steps_max": [0, True]})
