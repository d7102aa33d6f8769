"""One fit: it learns, stops, resumes to the bit, and says what is wrong."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.utils.data import DataLoader, TensorDataset

import isinglass as ig
from isinglass.errors import (
    DivergenceError,
    DomainError,
    FileError,
    IntractableError,
    ParameterError,
    ShapeError,
)
from isinglass.io.archive import read_tensors
from isinglass.learning import (
    ContrastiveDivergence,
    DenoisingScoreMatching,
    ExactGradient,
    ExpectationMaximization,
    Likelihood,
    PersistentCD,
    PseudoLikelihood,
    TemperedPCD,
    default_objective,
    expectation_maximization,
    fit,
    seed_memories,
)
from isinglass.learning.trainer.checkpoint import read_checkpoint
from isinglass.testing import IDENTITY
from tests.seeds import SHIFT, seeded

SGD = partial(torch.optim.SGD, lr=0.2)
QUIET = {"progress": False}


def two_prototypes(count: int = 200) -> torch.Tensor:
    prototypes = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]).repeat(count // 2, 1)
    noise = torch.rand(prototypes.shape, generator=seeded(5)) < 0.1
    return torch.where(noise, 1 - prototypes, prototypes)


def rbm(seed: int = 0) -> ig.RBM:
    return ig.RBM(ig.Bernoulli(6), ig.Bernoulli(3), scale=0.1, generator=seeded(seed))


def weights(energy: ig.Energy) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in energy.parameters()])


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [
        ExactGradient(),
        ContrastiveDivergence(5),
        PersistentCD(5),
        TemperedPCD(4, chains=50),
        PseudoLikelihood(),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_every_objective_learns_two_prototypes(objective):
    """The entropy of the data is 6 · 0.325 + ln 2 = 2.64 nats; independent bits reach 4.16."""
    learner = rbm()
    report = fit(
        learner, two_prototypes(), objective, epochs=40, batch_size=50, optimizer=SGD,
        score=Likelihood(every=40), generator=seeded(), **QUIET,
    )  # fmt: skip
    assert report["log-likelihood"][-1] > -2.9
    assert report.stopped == "all epochs"
    assert report.best_epoch == 40


def test_memories_learn_by_em_as_by_its_own_loop():
    """In float64: θ − (θ − EM(θ)) is EM(θ) but for rounding, which grows from step to step."""
    data = two_prototypes().double()
    own = ig.HopfieldBoltzmann(ig.Bernoulli(6), 2, generator=seeded()).double()
    theirs = copy.deepcopy(own)
    for machine in (own, theirs):
        seed_memories(machine, data, seeded(1))
    report = fit(own, data, ExpectationMaximization(1.0), epochs=5, **QUIET)
    history = expectation_maximization(theirs, data, steps=5, tolerance=0.0, pseudo_count=1.0)
    torch.testing.assert_close(weights(own), weights(theirs))
    assert report["log-likelihood"] == pytest.approx(history.log_likelihood[1:], rel=IDENTITY)


def test_defaults_suit_the_energy():
    assert default_objective(rbm()) == PersistentCD()
    assert default_objective(ig.HopfieldBoltzmann(ig.Spin(3), 2)) == ExactGradient()
    assert default_objective(ig.HopfieldBoltzmann(ig.Spin(3), 2, groups=2)) == PersistentCD()
    network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Softplus(), torch.nn.Linear(8, 1))
    unnamed, named = ig.DeepEnergy(network, 2), ig.DeepEnergy(copy.deepcopy(network), 2)
    data, objective = torch.randn(100, 2, generator=seeded()), DenoisingScoreMatching(sigma=0.2)
    report = fit(unnamed, data, epochs=3, generator=seeded(), **QUIET)
    fit(named, data, objective, epochs=3, generator=seeded(), **QUIET)
    assert torch.equal(weights(unnamed), weights(named))
    assert "log-likelihood" not in report.history[0]


@pytest.mark.parametrize("wrap", [TensorDataset, lambda x: DataLoader(TensorDataset(x), 50)])
def test_data_sets_and_loaders_are_taken(wrap):
    report = fit(rbm(), wrap(two_prototypes()), epochs=30, optimizer=SGD, generator=seeded(),
                 batch_size=50, **QUIET)  # fmt: skip
    assert report["log-likelihood"][-1] > -3.2


def test_same_seed_same_weights_and_another_seed_others():
    ends = []
    for seed in (1, 1, 2):
        learner = rbm()
        fit(learner, two_prototypes(), epochs=2, generator=seeded(seed), **QUIET)
        ends.append(weights(learner))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_track_validation_average_scheduler_and_plot(tmp_path):
    learner, seen = rbm(), []
    report = fit(
        learner, two_prototypes(), epochs=6, batch_size=10, validation=two_prototypes(40),
        optimizer=SGD, scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=2),
        average=0.9, generator=seeded(), on_epoch=seen.append, **QUIET,
    )  # fmt: skip
    assert seen == report.history
    assert set(report.history[-1]) >= {
        "epoch", "loss", "gradient norm", "log-likelihood", "validation log-likelihood",
        "energy gap",
    }  # fmt: skip
    _, (exact,) = Likelihood("exact").measure(learner, two_prototypes())
    assert report["log-likelihood"][-1] == exact  # the averaged weights are those that stay
    report.save_history(tmp_path / "track.json")
    assert json.loads((tmp_path / "track.json").read_text()) == report.history
    assert len(report.plot().axes) >= 3
    with pytest.raises(FileError, match="exists"):
        report.save_history(tmp_path / "track.json")


def test_chain_health_is_tracked():
    pytest.importorskip("arviz")
    report = fit(rbm(), two_prototypes(), epochs=2, batch_size=2, generator=seeded(), **QUIET)
    assert 0.9 < report["R-hat"][-1] < 1.5
    assert report["ESS"][-1] > 100


def test_patience_stops_and_goes_back_to_the_best():
    learner = rbm()
    few = two_prototypes()[:8]
    report = fit(
        learner, few, ExactGradient(), epochs=500, optimizer=partial(torch.optim.SGD, lr=1.0),
        validation=two_prototypes(), patience=5, **QUIET,
    )  # fmt: skip
    scores = report["validation log-likelihood"]
    assert report.stopped == "no better"
    assert len(scores) == report.best_epoch + 5 < 500
    assert max(scores) == scores[report.best_epoch - 1]
    _, (now,) = Likelihood("exact").measure(learner, two_prototypes())
    assert now == max(scores)


@pytest.mark.slow
def test_likelihoods_agree():
    learner, data = rbm(), two_prototypes()
    fit(learner, data, ExactGradient(), epochs=20, optimizer=SGD, **QUIET)
    _, (exact,) = Likelihood("exact").measure(learner, data)
    name, (annealed,) = Likelihood("ais").measure(learner, data)
    assert name == "log-likelihood by AIS"
    assert abs(exact - annealed) < 0.1
    name, _ = Likelihood(states=4).measure(learner, data)
    assert name == "pseudo-likelihood"


def test_lower_precision_has_the_same_gradient_but_for_rounding():
    """Products in bfloat16 keep 8 bits: gradients of numbers up to one are right to 2⁻⁷."""
    learner, data = rbm(), two_prototypes()
    chains = learner.extend(two_prototypes(50).roll(1, 0))
    exact = torch.autograd.grad(learner.contrastive_loss(data, chains), list(learner.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        low = torch.autograd.grad(
            learner.contrastive_loss(data, chains), list(learner.parameters())
        )
    for one, other in zip(exact, low, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2**-7)
    assert not torch.equal(exact[0], low[0])  # as products were rounded
    assert torch.equal(exact[1], low[1])  # as means of bits were not
    report = fit(learner, data, epochs=40, batch_size=50, optimizer=SGD, autocast=torch.bfloat16,
                 generator=seeded(), **QUIET)  # fmt: skip
    assert report["log-likelihood"][-1] > -3.0


RUN = f"""
import sys, torch, isinglass as ig
from isinglass.learning import TemperedPCD, fit
seeded = lambda n: torch.Generator().manual_seed(n + {SHIFT})
def run(epochs, path):
    data = torch.randint(2, (300, 6), generator=seeded(1)).float()
    rbm = ig.RBM(ig.Bernoulli(6), ig.Bernoulli(3), generator=seeded(2))
    fit(
        rbm, data, TemperedPCD(3, chains=10), epochs=epochs, batch_size=60, average=0.9,
        scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 7), validation=data[:50],
        patience=1000, checkpoint=path, resume=True, generator=seeded(3), progress=False,
    )
"""


@pytest.mark.slow
def test_killed_and_resumed_is_the_same_to_the_bit(tmp_path):
    """A run is ended by kill -9 wherever it happens to be, and taken up again."""
    kept, whole = tmp_path / "kept", tmp_path / "whole"
    child = subprocess.Popen([sys.executable, "-c", f"{RUN}run(100_000, {str(kept)!r})"])
    while not kept.exists():
        time.sleep(0.01)
    child.kill()
    child.wait()
    epochs = read_checkpoint(kept, {})["position"][1] + 10
    # In a process like the first, which has its own number of threads.
    again = f"{RUN}for path in ({str(kept)!r}, {str(whole)!r}): run({epochs}, path)"
    subprocess.run([sys.executable, "-c", again], check=True)
    own, theirs = load_file(kept), load_file(whole)
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], theirs[name]) for name in own)
    assert read_tensors(kept)[0]["state"] == read_tensors(whole)[0]["state"]


class Interrupting(PersistentCD):
    """Ctrl-C is pressed in the fourteenth step."""

    steps_taken = 0

    def loss(self, energy, batch, memory, generator=None):
        Interrupting.steps_taken += 1
        if Interrupting.steps_taken == 14:
            os.kill(os.getpid(), signal.SIGINT)
        return super().loss(energy, batch, memory, generator)


def test_ctrl_c_ends_the_step_and_keeps_it(tmp_path):
    path, broken, whole = tmp_path / "kept", rbm(), rbm()
    settings = {"epochs": 4, "batch_size": 20, "optimizer": SGD, **QUIET}
    data, handler = two_prototypes(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(broken, data, Interrupting(), checkpoint=path, generator=seeded(3), **settings)
    assert read_checkpoint(path, {})["position"][1:3] == [1, 4]  # epochs, and steps of the next
    assert signal.getsignal(signal.SIGINT) is handler
    report = fit(
        rbm(9), data, Interrupting(), checkpoint=path, resume=True, generator=seeded(8), **settings
    )
    resumed = rbm()
    resumed.load_state_dict(read_checkpoint(path, {})["energy"])
    assert (
        fit(whole, data, Interrupting(), generator=seeded(3), **settings).history == report.history
    )
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"energy": lambda: ig.RBM(ig.Bernoulli(6), ig.Bernoulli(4))}, "energy = "),
        ({"objective": PersistentCD(2)}, "objective = "),
        ({"data": 1 - two_prototypes()}, "data = "),
        ({"batch_size": 20}, "batch_size = 50"),
        ({"centered": False}, "centered = True"),
        ({"optimizer": torch.optim.Adam}, "optimizer = "),
        ({"resume": False}, "there already"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, change, what):
    settings = {
        "energy": rbm, "data": two_prototypes(), "objective": PersistentCD(), "epochs": 1,
        "batch_size": 50, "optimizer": SGD, "checkpoint": tmp_path / "kept", **QUIET,
    }  # fmt: skip
    fit(**settings | {"energy": rbm()})
    kept = (tmp_path / "kept").read_bytes()
    other = settings | {"resume": True} | change
    with pytest.raises(FileError, match=what):
        fit(**other | {"energy": other["energy"]()})
    assert (tmp_path / "kept").read_bytes() == kept


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    learner, path = rbm(), tmp_path / "file"
    settings = {"epochs": 1, "checkpoint": path, "resume": True, **QUIET}
    ig.save(learner, path)
    with pytest.raises(FileError, match="no checkpoint"):
        fit(learner, two_prototypes(), **settings)
    path.write_bytes(b"torn")
    with pytest.raises(FileError, match="not a whole"):
        fit(learner, two_prototypes(), **settings)
    path.unlink()
    fit(learner, two_prototypes(), **settings)
    with pytest.raises(FileError, match="checkpoint"):
        ig.load(path)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(FileError, match="checksum"):
        fit(learner, two_prototypes(), **settings)


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    learner, path, kept = rbm(), tmp_path / "kept", []

    def full(tensors, aside, metadata):
        aside.write_bytes(b"half")
        raise SafetensorError("No space left on device")

    def fill(row):
        kept.append((weights(learner), path.read_bytes()))
        if row["epoch"] == 2:
            monkeypatch.setattr("isinglass.io.archive.save_file", full)

    with pytest.raises(FileError, match="disk refused it"):
        fit(learner, two_prototypes(), epochs=4, checkpoint=path, on_epoch=fill, **QUIET)
    assert path.read_bytes() == kept[-1][1]
    assert list(tmp_path.iterdir()) == [path]
    assert not torch.equal(weights(learner), kept[-1][0])  # what was learned since is not lost


def test_divergence_is_named_and_the_last_good_weights_stay(tmp_path):
    learner, path = ig.RBM(ig.Gaussian(2), ig.Gaussian(2), generator=seeded()), tmp_path / "kept"
    data = torch.randn(100, 2, generator=seeded())
    kept = []

    def remember(row):
        kept.append((weights(learner), path.read_bytes()))

    with pytest.raises(DivergenceError, match="Lower the learning rate"):
        fit(
            learner, data, PersistentCD(), epochs=5000, optimizer=partial(torch.optim.SGD, lr=3.0),
            checkpoint=path, on_epoch=remember, generator=seeded(), score=None, **QUIET,
        )  # fmt: skip
    assert torch.equal(weights(learner), kept[-1][0])
    assert path.read_bytes() == kept[-1][1]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (torch.full((5, 6), 0.5), DomainError),
        (torch.full((5, 6), torch.nan), DomainError),
        (torch.ones(5, 7), ShapeError),
        (torch.ones(6), ShapeError),
        (torch.ones(0, 6), ShapeError),
        (torch.ones(5, 6).double(), DomainError),
        (torch.ones(5, 6).long(), DomainError),
        ([[1.0] * 6], DomainError),
    ],
    ids=["gray", "NaN", "features", "a row", "empty", "dtype", "integers", "a list"],
)
def test_wrong_data_are_refused_before_anything_moves(data, error, unannotated):
    learner = rbm()
    before = weights(learner)
    with pytest.raises(error):
        fit(learner, data, epochs=1, **QUIET)
    with pytest.raises(error):
        fit(learner, two_prototypes(), epochs=1, validation=data, **QUIET)
    assert torch.equal(weights(learner), before)


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0}, {"batch_size": 0}, {"every": 0}, {"patience": 0}, {"average": 1.5},
        {"objective": PersistentCD}, {"energy": torch.nn.Linear(6, 1)},
        {"energy": rbm().requires_grad_(False)},
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(settings, unannotated):
    with pytest.raises(ParameterError):
        fit(**{"energy": rbm(), "data": two_prototypes(), "epochs": 1, **QUIET} | settings)


def test_a_score_that_cannot_be_had_is_refused_only_where_it_matters():
    real, data = ig.RBM(ig.Gaussian(3), ig.Bernoulli(30)), torch.randn(20, 3, generator=seeded())
    assert "loss" in fit(real, data, epochs=1, **QUIET).history[0]
    with pytest.raises(IntractableError, match="ais"):
        fit(real, data, epochs=1, patience=2, **QUIET)
    with pytest.raises(ParameterError, match="method"):
        Likelihood("guess")


PROCESS = """
import sys, torch, torch.distributed as dist, isinglass as ig
from isinglass.learning import ExactGradient, PersistentCD, fit
rank, store, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
seeded = lambda n: torch.Generator().manual_seed(n + int(sys.argv[4]))
data = torch.randint(2, (80, 6), generator=seeded(1)).float()
for name, objective in (("exact", ExactGradient()), ("pcd", PersistentCD(2, chains=20))):
    rbm = ig.RBM(ig.Bernoulli(6), ig.Bernoulli(3), scale=0.1, generator=seeded(2)).double()
    for epochs in (2, 4):  # the second goes on from the first
        fit(
            rbm, data.double(), objective, epochs=epochs, batch_size=20, generator=seeded(3),
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1), progress=False,
            checkpoint=f"{out}/{name}.kept", resume=True,
        )
        dist.barrier()
    torch.save(rbm.state_dict(), f"{out}/{name}.{rank}")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_learn_as_one(tmp_path):
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    children = [
        subprocess.Popen(
            [sys.executable, script, str(rank), tmp_path / "store", tmp_path, str(SHIFT)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    assert [child.wait(120) for child in children] == [0, 0]
    for name in ("exact", "pcd"):
        one, other = (torch.load(tmp_path / f"{name}.{rank}") for rank in range(2))
        assert all(torch.equal(one[key], other[key]) for key in one)
    processes = read_checkpoint(tmp_path / "pcd.kept", {})["processes"]
    first, second = (own["memory"]["chains"] for own in processes)
    assert not torch.equal(first, second)
    alone = ig.RBM(ig.Bernoulli(6), ig.Bernoulli(3), scale=0.1, generator=seeded(2)).double()
    data = torch.randint(2, (80, 6), generator=seeded(1)).double()
    fit(
        alone, data, ExactGradient(), epochs=4, batch_size=20, generator=seeded(3),
        optimizer=partial(torch.optim.SGD, lr=0.1), **QUIET,
    )  # fmt: skip
    together = torch.load(tmp_path / "exact.0")
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(together[name], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("objective", [None, ContrastiveDivergence(), TemperedPCD()])
def test_real_units_that_run_away_are_refused(objective):
    """Of spectral norm one and above a Gaussian–Gaussian machine has no distribution."""
    data = torch.randn(50, 3)
    machine = ig.RBM(ig.Gaussian(3), ig.Gaussian(2))
    machine.weights[0].data = 1.5 * torch.eye(2, 3)
    with pytest.raises(IntractableError, match="run away"):
        fit(machine, data, objective, epochs=1, progress=False)
    if objective is None:
        machine.weights[0].data *= 0.6 / 1.5
        fast = partial(torch.optim.SGD, lr=1.0)
        before = machine.weights[0].detach().clone()
        with pytest.raises(DivergenceError, match=r"run away.* of epoch 1"):
            fit(
                machine, 3 * data, ContrastiveDivergence(), epochs=1, batch_size=50,
                optimizer=fast, progress=False,
            )  # fmt: skip
        assert torch.equal(machine.weights[0], before)
