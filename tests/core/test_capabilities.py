"""What an energy can do is what its class inherits, and whoever needs more says so in one way."""

import ast
from pathlib import Path
from typing import ClassVar

import pytest
import torch

import isinglass as ig
from isinglass import core
from isinglass.core import (
    Annealable,
    Clampable,
    ConcaveConvex,
    Gibbs,
    Serializable,
    Tractable,
    Trainable,
    as_trainable,
    require,
)
from isinglass.core.capabilities import Capability
from isinglass.errors import IntractableError
from isinglass.learning import ContrastiveDivergence, SlicedScoreMatching, fit
from tests.cases import ENERGIES, double

MIXINS = [Annealable, Clampable, ConcaveConvex, Gibbs, Serializable, Tractable, Trainable]


class Bowl(ig.Energy):
    """½ e^a |v|²: an energy of one's own that gives ``forward`` and nothing else."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, state):
        return self.a.exp() * state.square().sum(-1) / 2


def needs(energy: ig.Energy) -> dict[type[Capability], object]:
    """A public call for each mixin that needs it."""
    state = torch.zeros(2, 3).double()
    return {
        Gibbs: lambda: ig.run(ig.BlockGibbs(), energy, state, steps=1, temperature=1.0),
        Clampable: lambda: ig.impute(energy, state, torch.ones(3, dtype=torch.bool)),
        ConcaveConvex: lambda: ig.recall(energy, state, ig.CCCP()),
        Tractable: lambda: ig.log_partition(energy, "exact"),
        Annealable: lambda: ig.ReplicaExchange(energy),
        Trainable: lambda: ContrastiveDivergence().loss(energy, state, {}),
        Serializable: lambda: ig.save(energy, "never"),
    }


@pytest.mark.parametrize("mixin", MIXINS, ids=lambda mixin: mixin.__name__)
def test_what_a_plain_energy_lacks_is_named_by_whoever_needs_it(mixin):
    energy = Bowl()
    assert not isinstance(energy, mixin)
    with pytest.raises(IntractableError) as caught:
        needs(energy)[mixin]()
    assert caught.value.found == f"Bowl {mixin.lacking}"
    assert caught.value.remedy == mixin.remedy


def test_a_class_may_name_a_remedy_of_its_own():
    class Advised(Bowl):
        instead: ClassVar[dict[str, str]] = {"Tractable": "Ask its inventor"}

    with pytest.raises(IntractableError, match="Ask its inventor"):
        require(Advised(), Tractable)


@pytest.mark.parametrize("case", ENERGIES, ids=str)
def test_no_family_inherits_what_it_refuses(case):
    """isinstance says what a call says: every method that is inherited works on legal states."""
    energy, state = case.build(), case.legal()
    temperature = 0.0  # at which every family moves, whatever its number of draws
    if isinstance(energy, Gibbs):
        assert energy.sweep(state, temperature).shape == state.shape
    if isinstance(energy, Clampable):
        held = torch.ones_like(state, dtype=torch.bool)
        assert torch.equal(energy.clamped_sweep(state, held, temperature), state)
    if isinstance(energy, ConcaveConvex):
        assert energy.cccp_update(state).shape == state.shape
    if isinstance(energy, Tractable):
        assert torch.isfinite(energy.exact_log_partition())
    if isinstance(energy, Annealable):
        assert torch.isfinite(energy.path().base_log_partition)
    if isinstance(energy, Trainable):
        assert isinstance(energy.default_sampler(), core.Kernel)
    if isinstance(energy, Serializable):
        assert isinstance(energy.config(), dict)


def test_a_plain_energy_moves_recalls_and_learns(generator):
    energy, start = Bowl(), double(200, 2)
    drawn = ig.run(ig.HMC(), energy, start, steps=5, temperature=1.0, generator=generator)
    assert drawn.shape == start.shape
    data = 0.5 * double(500, 2, seed=1)
    fit(energy, data, SlicedScoreMatching(), epochs=2, progress=False, generator=generator)
    assert float(energy.a.detach()) > 0.01  # toward 1/σ² = 4
    loss, _ = ContrastiveDivergence(kernel=ig.HMC()).loss(energy, data, {}, generator)
    assert loss.requires_grad


def test_the_view_of_a_plain_energy_owns_no_parameters():
    energy = Bowl()
    view = as_trainable(energy)
    assert list(view.parameters()) == []
    state = double(4, 3)
    torch.testing.assert_close(view.positive_phase(state), energy(state), rtol=0, atol=0)
    machine = ig.RBM(ig.Bernoulli(2), ig.Bernoulli(2))
    assert as_trainable(machine) is machine


def test_the_energy_itself_is_small_and_refuses_nothing():
    own = {name for name in vars(ig.Energy) if not name.startswith("_")}
    assert own == {
        "check_state", "energy_and_grad", "energy_at", "forward", "grad", "instead", "layers",
        "temperature",
    }  # fmt: skip


def test_core_is_typed_without_any():
    for path in Path(core.__file__).parent.glob("*.py"):
        names = {
            node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)
        }
        assert "Any" not in names, path
