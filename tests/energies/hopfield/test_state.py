"""What a memory keeps: in a state dict, a file, a copy; in half precision, under autocast."""

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import nn

import isinglass as ig
from isinglass.errors import DomainError, ParameterError
from isinglass.nn import TokenEnergy
from tests.cases import double

PATTERNS = double(6, 4)
PAIRS = {
    "modern": (lambda: ig.ModernHopfield(PATTERNS, 3.0), lambda: ig.ModernHopfield(PATTERNS)),
    "sparse": (
        lambda: ig.SparseHopfield(PATTERNS, 3.0, 2.0),
        lambda: ig.SparseHopfield(PATTERNS),
    ),
    "subset": (
        lambda: ig.SubsetHopfield(PATTERNS, 3.0, 4),
        lambda: ig.SubsetHopfield(PATTERNS),
    ),
    "hetero": (
        lambda: ig.HeteroMemory(ig.ModernHopfield(PATTERNS, 3.0), PATTERNS),
        lambda: ig.HeteroMemory(ig.ModernHopfield(PATTERNS), PATTERNS),
    ),
    "tokens": (
        lambda: TokenEnergy(4, 2, 2, 3, beta=3.0).double(),
        lambda: TokenEnergy(4, 2, 2, 3).double(),
    ),
}
each_pair = pytest.mark.parametrize("name", PAIRS)


@each_pair
def test_a_load_that_matches_restores_everything(name, tmp_path):
    given, other = (make() for make in PAIRS[name])
    assert str(other.load_state_dict(given.state_dict())) == "<All keys matched successfully>"
    states = double(2, 3, 4)
    assert torch.equal(given(states), other(states))
    assert other.config() == given.config()
    assert all(isinstance(value, torch.Tensor) for value in given.state_dict().values())
    ig.save(given, tmp_path / "x.safetensors")
    loaded = ig.load(tmp_path / "x.safetensors")
    assert loaded.config() == given.config()
    assert {p.dtype for p in (*loaded.parameters(), *loaded.buffers())} == {torch.float64}


def test_numbers_inside_a_network():
    networks = [nn.Sequential(nn.Linear(4, 4).double(), m().attend()) for m in PAIRS["sparse"]]
    networks[1].load_state_dict(networks[0].state_dict())
    assert (networks[1][1].memory.beta, networks[1][1].memory.alpha) == (3.0, 2.0)


@each_pair
def test_a_state_of_before_numbers_were_kept(name):
    """It loads, and says what stays as it is."""
    given, other = (make() for make in PAIRS[name])
    old = {key: value for key, value in given.state_dict().items() if value.ndim}
    missing = sorted(set(given.state_dict()) - set(old))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        other.load_state_dict(old)
    assert len(said) == len(missing) > 0
    assert all("stays" in str(word.message) for word in said)


def test_a_state_of_nonsense_is_refused():
    memory = PAIRS["sparse"][0]()
    for name, value in (("beta", torch.nan), ("alpha", 0.5)):
        with pytest.raises(ParameterError, match=name):
            memory.load_state_dict(memory.state_dict() | {name: torch.tensor(value)})
    with pytest.raises(ParameterError, match="subset = 7 of 6"):
        PAIRS["subset"][0]().subset = 7


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda pair: pickle.loads(pickle.dumps(pair)),  # noqa: S301 - our own
    "torch.save": lambda pair: _saved(pair),
}


def _saved(pair):
    file = io.BytesIO()
    torch.save(pair, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("way", COPIES)
def test_an_index_and_its_memory_are_copied_together(way):
    patterns = nn.functional.normalize(torch.randn(600, 16), dim=-1)
    memory = ig.ModernHopfield(patterns, beta=30.0)
    index = memory.build_index()
    expected = memory.recall(patterns[:3], kernel=index).state
    other, kernel = COPIES[way]((memory, index))
    torch.testing.assert_close(other.recall(patterns[:3], kernel=kernel).state, expected)
    assert kernel.index.keys.data_ptr() == other.patterns.data_ptr()
    other.patterns.mul_(2)
    with pytest.raises(ParameterError, match="not those of which"):
        other.recall(patterns[:3], kernel=kernel)
    second, kernel = COPIES[way]((memory, index))
    second.patterns.neg_()  # before its first use
    with pytest.raises(ParameterError, match="not those of which"):
        second.recall(patterns[:3], kernel=kernel)
    assert torch.equal(memory.recall(patterns[:3], kernel=index).state, expected)


HALVES = {
    "modern": lambda rows: ig.ModernHopfield(rows, beta=1e-3),
    "constants": lambda rows: ig.ModernHopfield(rows, beta=1e-3, constants=True),
    "sparse": lambda rows: ig.SparseHopfield(rows, beta=1e-3),
    "subset": lambda rows: ig.SubsetHopfield(rows, beta=1e-3),
}


@pytest.mark.parametrize("count", [20, 2100])
@pytest.mark.parametrize("name", HALVES)
def test_pixels_in_half_precision(name, count):
    """Scores of 784 pixels up to 255 are a thousand times what half precision holds."""
    if count > 2048 and name not in ("modern", "constants"):
        return
    rows = (255 * torch.rand(count, 784)).half()
    half, whole = HALVES[name](rows), HALVES[name](rows.double())
    found, expected = half.recall(rows[:3]), whole.recall(rows[:3].double())
    assert found.converged.all()
    assert found.state.dtype == torch.float16
    torch.testing.assert_close(found.state.double(), expected.state, rtol=2e-3, atol=0)
    # A step rounds the state to 2⁻¹¹, and energies of |x|² that are subtracted with it.
    near = 4 * 2.0**-11 * float(rows.double().square().sum(-1).max())
    torch.testing.assert_close(found.energy.double(), expected.energy, rtol=0, atol=near)
    if name == "modern":
        index = half.build_index()
        looked_up = half.recall(rows[:3], kernel=index)
        torch.testing.assert_close(looked_up.energy.double(), expected.energy, rtol=0, atol=near)


def test_the_energy_of_spins_in_half_precision():
    patterns = torch.randn(20, 784).sign()
    found = ig.ClassicalHopfield(patterns.half()).recall(patterns[:3].half())
    expected = ig.ClassicalHopfield(patterns).recall(patterns[:3])
    torch.testing.assert_close(found.energy.float(), expected.energy)


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("name", ["modern", "sparse", "subset"])
def test_recall_under_autocast(name, low):
    """It is what it is without: in bfloat16 few rows would ever rest."""
    memory, cues = PAIRS[name][0]().float(), PATTERNS[:3].float()
    cues = cues.bfloat16() if low else cues
    expected = memory.recall(cues.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = memory.recall(cues)
        known = memory.recall(cues, known=torch.tensor([True, True, False, False]))
    assert torch.equal(found.state, expected.state)
    assert known.state.dtype == torch.float32
    assert known.state.isfinite().all()


def test_numbers_that_float32_cannot_hold(unannotated):
    for beta in (1e-40, 1e-300, 1e40, 1j, torch.nan, torch.inf):
        with pytest.raises(ParameterError, match="beta"):
            ig.ModernHopfield(PATTERNS, beta)
    assert ig.ModernHopfield(PATTERNS.float(), 2.0**-126)(PATTERNS.float()).isfinite().all()


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_sparse_tensors_are_refused(unannotated):
    for sparse in (torch.eye(4).to_sparse(), torch.eye(4).to_sparse_csr()):
        with pytest.raises(DomainError, match="to_dense"):
            ig.ModernHopfield(sparse)
        with pytest.raises(DomainError, match="to_dense"):
            ig.ModernHopfield(torch.eye(4)).recall(sparse)
        with pytest.raises(DomainError, match="to_dense"):
            ig.HopfieldBoltzmann(ig.Bernoulli(4), 2).log_prob(sparse)


def test_no_such_device(tmp_path, unannotated):
    ig.save(PAIRS["modern"][0](), tmp_path / "x.safetensors")
    for call in (
        lambda: ig.load(tmp_path / "x.safetensors", device="foo"),
        lambda: ig.nn.Hopfield(8, device="foo"),
        lambda: ig.nn.StochasticAttention(8, 2, device="foo"),
    ):
        with pytest.raises(ParameterError, match="device = 'foo'"):
            call()
