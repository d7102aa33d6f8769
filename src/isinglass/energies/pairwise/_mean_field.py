"""The mean-field bound on the free energy of a Boltzmann machine with many hidden units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isinglass.errors import IntractableError

if TYPE_CHECKING:
    from isinglass.energies.pairwise.boltzmann_machine import BoltzmannMachine

__all__ = ["mean_field_bound"]

#: Updates of all means at once.
STEPS = 30


def mean_field_bound(machine: BoltzmannMachine, visible: Tensor) -> Tensor:
    """Bounds F(v) from above by independent hidden units, differentiable at fixed means.

    The bound holds at whatever means it is taken; thirty steps bring it near its least.
    """
    hidden, size, temperature = machine.layers[1], machine.visible.size, machine.temperature
    with torch.no_grad():
        mean = hidden.mean(machine.local_field(machine.extend(visible))[..., size:], temperature)
        for _ in range(STEPS):  # half-way steps, as whole ones may swing to and fro
            field = machine.local_field(torch.cat([visible, mean], -1))[..., size:]
            mean = (mean + hidden.mean(field, temperature)) / 2
        try:
            field = hidden.natural_parameter(mean, temperature)
        except IntractableError:  # no closed inverse: take the field that these means give
            field = machine.local_field(torch.cat([visible, mean], -1))[..., size:]
        mean = hidden.mean(field, temperature)
        entropy = hidden.log_partition(field, temperature) - (field * mean).sum(-1)
    own = machine.visible.base_measure_energy(visible, temperature)
    return own - machine.agreement(torch.cat([visible, mean], -1)) - entropy
