"""Every machine is learned by ``fit`` with nothing but data, or the refusal says what to do."""

import pytest
import torch

import isinglass as ig
from isinglass.core import Trainable
from isinglass.errors import IsinglassError
from isinglass.learning import fit
from tests.cases import ENERGIES, EnergyCase, seeded


def visible_states(case: EnergyCase, energy: ig.Energy) -> torch.Tensor:
    """States of the visible units, which stand first."""
    states = case.legal()
    if isinstance(energy, ig.Harmonium | ig.BoltzmannMachine):
        states = states[..., : energy.visible.size]
    return states


@pytest.mark.parametrize("case", ENERGIES, ids=str)
def test_two_epochs_by_default(case):
    energy = case.build()
    data = visible_states(case, energy)
    before = [parameter.detach().clone() for parameter in energy.parameters()]
    joined = isinstance(energy, ig.Harmonium) and not isinstance(energy, ig.DeepBoltzmann)
    joined = joined and any(0 not in pair for pair in energy.couplings)
    if not isinstance(energy, Trainable) or joined:
        with pytest.raises(IsinglassError, match=r"DeepBoltzmann|can learn|HMC\(\)"):
            fit(energy, data, epochs=2, progress=False, generator=seeded())
        return
    report = fit(energy, data, epochs=2, progress=False, generator=seeded())
    assert [row["epoch"] for row in report.history] == [1, 2]
    assert all(torch.tensor(report["loss"]).isfinite())
    parameters = list(energy.parameters())
    assert all(bool(parameter.isfinite().all()) for parameter in parameters)
    stayed = [torch.equal(old, new) for old, new in zip(before, parameters, strict=True)]
    # The last bias of a network only shifts its energy, which nothing depends on.
    assert stayed.count(True) == (1 if isinstance(energy, ig.DeepEnergy) else 0)


def test_every_kind_of_machine_is_among_them():
    kinds = {type(case.build()) for case in ENERGIES}
    promised = {ig.RBM, ig.HopfieldBoltzmann, ig.DeepBoltzmann, ig.BoltzmannMachine}
    assert promised <= kinds
    assert any(issubclass(kind, ig.DeepEnergy) for kind in kinds)
