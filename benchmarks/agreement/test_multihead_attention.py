"""What PyTorch's nn.MultiheadAttention can, asked of every layer that may stand in its place.

Each behavior is asked of the original too, so that the list is of what it can and not of what we
think it can. With ``-rxX`` pytest prints what fails, and the reason.
"""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from isinglass.nn import Hopfield, StochasticAttention

ROOT = Path(__file__).parents[2]
SIZE, HEADS = 8, 2


class Three(nn.Module):
    """A Hopfield layer that is called as attention is."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.layer = Hopfield(SIZE, num_heads=HEADS, **options)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """As nn.MultiheadAttention is called."""
        return self.layer((key, query, value), key_padding_mask), None


def attention(kind: type = nn.MultiheadAttention, **options: Any) -> Callable[[], nn.Module]:
    """Makes attention of these options."""
    return lambda: kind(SIZE, HEADS, batch_first=True, **options)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "MultiheadAttention": attention(),
    "StochasticAttention": attention(StochasticAttention),
    "2 draws": attention(StochasticAttention, draws=2),
    "20 draws": attention(StochasticAttention, draws=20),
    "Hopfield": Three,
    "Hopfield, 3 updates": lambda: Three(update_steps_max=3),
}
NO_SLOPE = "draws have the straight-through slope, whose own derivative is that of the softmax"
FAILS = {
    ("first_derivative_is_the_slope", "2 draws"): NO_SLOPE,
    ("first_derivative_is_the_slope", "20 draws"): NO_SLOPE,
}


def rows(batch: int = 3, tokens: int = 5, seed: int = 0) -> Tensor:
    """Normal numbers, ``(batch, tokens, SIZE)``."""
    return torch.randn(batch, tokens, SIZE, generator=torch.Generator().manual_seed(seed))


def without_type_checks(call: str) -> None:
    """Runs a call of this file as a user's: no trace gets through the type checks of tests."""
    script = f"import torch; from {__name__} import *; torch.manual_seed(0); {call}"
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def run(layer: nn.Module, *inputs: Tensor, **masks: Tensor) -> Tensor:
    """The output, with the same draws each time."""
    torch.manual_seed(0)
    return layer(*inputs, **masks)[0]


def compiles_for_any_batch_in_two_graphs(layer: nn.Module) -> None:
    """One graph for the first batch, one for all others."""
    torch._dynamo.reset()
    graphs = CompileCounter()
    compiled = torch.compile(layer, backend=graphs, fullgraph=True)
    for size in (2, 3, 10):
        x = rows(size)
        assert compiled(x, x, x)[0].shape == x.shape
    assert graphs.frame_count <= 2


def exports_with_a_dynamic_batch(layer: nn.Module) -> None:
    """torch.export, and the result at another batch."""
    x = rows()
    dynamic = ({0: torch.export.Dim.DYNAMIC},) * 3
    exported = torch.export.export(layer.eval(), (x, x, x), dynamic_shapes=dynamic).module()
    y = rows(7)
    assert exported(y, y, y)[0].shape == y.shape


def takes_shapes_without_values(layer: nn.Module) -> None:
    """FakeTensor, and the device meta."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(3, 5, SIZE)
        assert layer(x, x, x)[0].shape == (3, 5, SIZE)
    x = torch.empty(3, 5, SIZE, device="meta")
    assert layer.to("meta")(x, x, x)[0].shape == (3, 5, SIZE)


def takes_none(layer: nn.Module) -> None:
    """Batches of none, no queries, no keys."""
    for query, key in (((0, 5), (0, 5)), ((3, 0), (3, 5)), ((3, 5), (3, 0)), ((3, 0), (3, 0))):
        found = run(layer, rows(*query), rows(*key), rows(*key))
        assert found.shape == (*query, SIZE)
        assert found.isfinite().all()


def maps_over_a_dimension(layer: nn.Module) -> None:
    """torch.vmap."""
    x = torch.stack([rows(seed=1), rows(seed=2)])
    torch.manual_seed(0)
    found = torch.vmap(lambda x: layer(x, x, x)[0], randomness="different")(x)
    assert found.shape == x.shape
    if getattr(layer, "draws", None) is None:
        for one, each in zip(found, x, strict=True):
            torch.testing.assert_close(one, run(layer, each, each, each))


def gives_gradients_of_each_example(layer: nn.Module) -> None:
    """torch.func: a gradient for each example of a batch."""
    parameters = dict(layer.named_parameters())

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        found = torch.func.functional_call(layer, parameters, (x, x, x))[0]
        return found.square().sum()

    slope = torch.vmap(torch.func.grad(loss), in_dims=(None, 0), randomness="different")
    for name, gradient in slope(parameters, rows().unsqueeze(1)).items():
        assert gradient.shape == (3, *parameters[name].shape)
        assert gradient.isfinite().all()


def differentiates_twice(layer: nn.Module) -> None:
    """The gradient of a gradient's square."""
    x = rows().requires_grad_()
    loss = run(layer, x, x, x).square().sum()
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), x)
    assert second.isfinite().all()
    assert second.abs().max() > 0


def first_derivative_is_the_slope(layer: nn.Module) -> None:
    """Finite differences, with the same random numbers."""
    layer, x = layer.double(), rows(2, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: run(layer, x, x, x), x)


def agrees_under_activation_checkpointing(layer: nn.Module) -> None:
    """The second forward pass gives the gradients of the first."""
    slopes = []
    for call in (layer, lambda *x: checkpoint(layer, *x, use_reentrant=False)):
        x = rows().requires_grad_()
        torch.manual_seed(0)
        call(x, x, x)[0].square().sum().backward()
        slopes.append(x.grad)
    torch.testing.assert_close(*slopes)


def runs_under_autocast(layer: nn.Module) -> None:
    """Products in bfloat16."""
    x = rows()
    with torch.autocast("cpu", torch.bfloat16):
        assert run(layer, x, x, x).dtype == torch.bfloat16


def runs_in_half_precision(layer: nn.Module) -> None:
    """float16 and bfloat16."""
    for dtype in (torch.float16, torch.bfloat16):
        x = rows().to(dtype)
        found = run(copy.deepcopy(layer).to(dtype), x, x, x)
        assert found.dtype == dtype
        assert found.isfinite().all()


def ignores_what_is_padding(layer: nn.Module) -> None:
    """What is padding is not looked at."""
    x, padding = rows(), torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = True
    other = x.masked_fill(padding[..., None], 9.0)
    found = [run(layer, x[:, :3], y, y, key_padding_mask=padding) for y in (x, other)]
    torch.testing.assert_close(*found)


def is_copied_and_pickled(layer: nn.Module) -> None:
    """deepcopy, pickle and torch.save."""
    x = rows()
    expected = run(layer, x, x, x)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    copies = (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),  # noqa: S301 - our own
        torch.load(file, weights_only=False),
    )
    for other in copies:
        assert torch.equal(run(other, x, x, x), expected)


def restores_its_state(layer: nn.Module) -> None:
    """A state dict holds all there is."""
    other = copy.deepcopy(layer)
    for parameter in other.parameters():
        nn.init.normal_(parameter)
    other.load_state_dict(layer.state_dict())
    x = rows()
    assert torch.equal(run(other, x, x, x), run(layer, x, x, x))


TRACED = (compiles_for_any_batch_in_two_graphs, exports_with_a_dynamic_batch)
BEHAVIORS = (
    compiles_for_any_batch_in_two_graphs, exports_with_a_dynamic_batch, takes_shapes_without_values,
    takes_none, maps_over_a_dimension, gives_gradients_of_each_example, differentiates_twice,
    first_derivative_is_the_slope, agrees_under_activation_checkpointing, runs_under_autocast,
    runs_in_half_precision, ignores_what_is_padding, is_copied_and_pickled, restores_its_state,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's of itself
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("behavior", BEHAVIORS, ids=lambda behavior: behavior.__name__)
def test_behavior(behavior, name, request):
    """Asks one thing of one layer."""
    if reason := FAILS.get((behavior.__name__, name)):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    if behavior in TRACED:
        without_type_checks(f"{behavior.__name__}(LAYERS[{name!r}]())")
        return
    torch.manual_seed(0)
    behavior(LAYERS[name]())


def test_code_that_reads_the_parameters_of_attention():
    """It asks ``_qkv_same_embed_dim`` where these are."""
    for options, same in (({}, True), ({"kdim": 4, "vdim": 4}, False)):
        layers = attention(**options)(), attention(StochasticAttention, **options)()
        for layer in layers:
            assert layer._qkv_same_embed_dim is same
            assert (layer.in_proj_weight is not None) is same
            layer._reset_parameters()
    layers[1].load_state_dict(layers[0].state_dict())


@torch.no_grad()
def nest_padding() -> None:
    """nn.TransformerEncoder hands its layers nested tensors where there is padding."""
    layer = nn.TransformerEncoderLayer(SIZE, HEADS, 16, 0.0, batch_first=True)
    theirs = nn.TransformerEncoder(layer, 2).eval()
    ours = copy.deepcopy(theirs)
    for part in ours.layers:
        part.self_attn = StochasticAttention.from_attention(part.self_attn)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:], padding[2, 1:] = True, True
    expected = theirs(rows(), src_key_padding_mask=padding)
    found = ours(rows(), src_key_padding_mask=padding)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for part in ours.layers:
        part.self_attn.draws = 1
    assert not torch.allclose(ours(rows(), src_key_padding_mask=padding), expected)


def test_encoders_that_nest_their_padding():
    """Draws stay draws there."""
    without_type_checks("nest_padding()")
