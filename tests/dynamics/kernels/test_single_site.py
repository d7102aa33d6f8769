"""Which unit moves when."""

import torch

import isinglass as ig
from tests.cases import spins
from tests.seeds import seeded


def test_every_unit_is_drawn_once_a_sweep(generator):
    """Above T = 0 the cursor walks through each row's own order."""
    memory = ig.ClassicalHopfield(spins(2, 7))
    for order in (None, seeded(1)):
        kernel = ig.SingleSite(order)
        kernel_state = kernel.init(memory, spins(5, 7, seed=1))
        visited = []
        for _ in range(14):
            kernel_state, info = kernel.step(memory, kernel_state, 2.0, generator)
            visited.append(info["site"])
        sites = torch.stack(visited, -1)
        assert torch.equal(sites, kernel_state.order.repeat(1, 2))
        assert torch.equal(kernel_state.order.sort(-1).values, torch.arange(7).expand(5, 7))
        assert torch.equal(kernel_state.field, memory.local_field(kernel_state.position))
    assert not torch.equal(kernel_state.order[0], kernel_state.order[1])  # each row has its own


def test_random_order_is_the_unit_by_unit_sweep_in_that_order():
    patterns, cues = spins(4, 20), spins(6, 20, seed=1)
    memory = ig.ClassicalHopfield(patterns)
    kernel = ig.SingleSite(seeded(3))
    order = kernel.init(memory, cues).order
    found = memory.recall(cues, kernel=ig.SingleSite(seeded(3))).state
    for row in range(6):
        state, moved = cues[row].clone(), True
        while moved:
            moved = False
            for i in order[row].tolist():
                field = memory.weight[i] @ state
                if field != 0 and field.sign() != state[i]:
                    state[i], moved = field.sign(), True
        assert torch.equal(state, found[row])
