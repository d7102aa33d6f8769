"""A block that is embedded again is as it was the first time, and counts once."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from isinglass.errors import DomainError, ParameterError
from isinglass.nn import HopfieldPooling
from isinglass.nn.hopfield.repeated import modules_of
from tests.cases import double
from tests.seeds import seeded

F64 = {"dtype": torch.float64}


class Network(nn.Module):
    """Norms by the block, and drops a share."""

    def __init__(self, share=0.0):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6, **F64), nn.BatchNorm1d(6, **F64), nn.Tanh())
        self.share = share

    def forward(self, block):
        return F.dropout(self.body(block), self.share, self.training)

    def encode(self, block):
        return self(block)


class Counting(nn.Module):
    """What it gives depends on how often it was asked."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 6, **F64)
        self.register_buffer("count", torch.zeros((), **F64))

    def forward(self, block):
        self.count += 1  # in place
        return self.layer(block) * (1 + self.count)

    def encode(self, block):
        return self(block)


class Caller:
    """No module, but has one."""

    def __init__(self, network):
        self.network = network

    def __call__(self, block):
        return self.network(block)

    def encode(self, block):
        return self.network(block)


WAYS = {
    "module": lambda net: net,
    "method": lambda net: net.encode,
    "function": lambda net: lambda block: net(block) * 1.0,
    "partial": lambda net: partial(lambda network, block: network(block), net),
    "object": Caller,
    "method of an object": lambda net: Caller(net).encode,
    "in a list": lambda net: (lambda nets: lambda block: nets[0](block))([net]),
    "decorated": lambda net: torch.enable_grad()(lambda block: net(block)),
}


def pooling(**options):
    pool = HopfieldPooling(6, **options, **F64).train()
    for number, parameter in enumerate(pool.parameters()):
        parameter.data = double(*parameter.shape, seed=number, scale=0.7)
    return pool


def states(network):
    return {name: value.clone() for name, value in network.named_buffers()}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("kind", [Network, Counting])
def test_running_statistics_count_each_block_once(kind, way, steps):
    """Values, gradients and statistics are those of one embedding of every block in turn."""
    pool, blocks = pooling(update_steps_max=steps, scaling=2.0), double(17, 4).split(5)
    network = kind()
    start = {name: value.clone() for name, value in network.state_dict().items()}
    found = pool.stream(blocks, embed=WAYS[way](network))
    found.sum().backward()
    slopes = [parameter.grad.clone() for parameter in network.parameters()]
    after = states(network)
    network.load_state_dict(start)
    network.zero_grad()
    expected = pool(torch.cat([network(block) for block in blocks]))
    expected.sum().backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(after, states(network), rtol=0, atol=0)
    for slope, parameter in zip(slopes, network.parameters(), strict=True):
        torch.testing.assert_close(slope, parameter.grad, rtol=1e-8, atol=1e-10)


def test_weights_of_blocks_count_them_once_too():
    pool, blocks, network = pooling(), double(17, 4).split(5), Network()
    start = {name: value.clone() for name, value in network.state_dict().items()}
    weights = torch.cat([*pool.stream_association(blocks, embed=network)], -1)
    after = states(network)
    network.load_state_dict(start)
    expected = pool.association(torch.cat([network(block) for block in blocks]))
    torch.testing.assert_close(weights[0], expected.reshape(weights[0].shape))
    torch.testing.assert_close(after, states(network), rtol=0, atol=0)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_masks_of_dropout_are_the_same_each_time(steps, dropout):
    """The slope is that of what was computed: its masks drawn once, those of the weights too."""
    pool = pooling(update_steps_max=steps, dropout=dropout, scaling=2.0)
    network, blocks = Network(share=0.5), double(17, 4).split(5)
    weight, way = network.body[0].weight, double(6, 4, seed=9)

    def value():
        with torch.random.fork_rng():
            torch.manual_seed(3)  # of masks: the slope below is exact for any
            return pool.stream(blocks, embed=network).square().sum()

    slope = (torch.autograd.grad(value(), weight)[0] * way).sum()
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * 1e-5 * way
            ends.append(value())
            weight -= sign * 1e-5 * way
    torch.testing.assert_close(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-8)


def test_blocks_have_masks_of_their_own_and_draw_once():
    pool, network, seen = pooling(update_steps_max=2), nn.Dropout(0.5), []

    def embed(block):
        seen.append(network(block))
        return seen[-1]

    rows = torch.ones(40, 6, **F64, requires_grad=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # any: forty rows of six are never dropped alike by chance
        pool.stream(rows.split(20), embed=embed).sum().backward()
        after = torch.rand(3)
        torch.manual_seed(0)
        [network(block) for block in rows.split(20)]
        assert torch.equal(torch.rand(3), after)
    assert len(seen) == 8  # two blocks, two updates, there and back
    first = {0: seen[0], 1: seen[1]}
    assert not torch.equal(first[0], first[1])
    for found in seen[2:]:
        assert any(torch.equal(found, mask) for mask in first.values())


def test_what_is_embedded_otherwise_the_second_time_is_refused():
    pool, blocks, network = pooling(), double(17, 4).split(5), Network()
    generator = seeded()

    def noisy(block):
        return network(block) + torch.randn(len(block), 6, generator=generator, **F64)

    said = r"HopfieldPooling.stream: embed gave other patterns of block \d"
    found = pool.stream(blocks, embed=noisy)
    with pytest.raises(DomainError, match=said):
        found.sum().backward()
    with pytest.raises(DomainError, match=said):
        pooling(update_steps_max=2).stream(blocks, embed=noisy)
    found = pool.stream(blocks, embed=network)
    network.eval()
    with pytest.raises(DomainError, match=f"{said}.*train or eval"):
        found.sum().backward()


def test_padding_may_be_nan_where_it_is_embedded_again():
    pool, rows = pooling(update_steps_max=2), double(2, 8, 4)
    padding = torch.zeros(2, 8, dtype=torch.bool)
    padding[:, 5:] = True
    rows[padding] = torch.nan
    layer = nn.Linear(4, 6, **F64)
    found = pool.stream(rows.split(3, 1), padding.split(3, 1), embed=layer)
    torch.testing.assert_close(found, pool(layer(rows), padding))


def test_modules_are_found_where_they_are_named_and_nowhere_else():
    inside, outside = Network(), Network()
    assert modules_of(None) == modules_of(torch.relu) == modules_of(F.relu) == []
    assert modules_of(lambda block: F.relu(inside(block))) == [inside]
    late = lambda block: assigned(inside(block))  # noqa: E731, a name without a value
    assert modules_of(late) == []
    assigned = outside
    assert {id(module) for module in modules_of(late)} == {id(inside), id(outside)}


@pytest.mark.parametrize("what", ["blocks", "paddings"])
def test_one_tensor_in_place_of_blocks_is_refused(what):
    """Its first dimension is the batch, of which each sample would be read as a block."""
    rows, padding = double(3, 8, 6), torch.zeros(3, 8, dtype=torch.bool)
    whole = {"blocks": rows, "paddings": padding}
    parts = {"blocks": rows.unbind(), "paddings": padding.unbind()} | {what: whole[what]}
    with pytest.raises(ParameterError, match=rf"stream: {what} in one tensor.*x.split\(4096, 1\)"):
        pooling().stream(*parts.values())
