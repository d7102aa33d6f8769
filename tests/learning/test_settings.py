"""What can be set in a fit: every optimizer and scheduler, and wrong settings are named."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

import isinglass as ig
from isinglass.errors import FileError, IntractableError, ParameterError
from isinglass.learning import (
    DenoisingScoreMatching,
    ExactGradient,
    FitReport,
    Likelihood,
    PersistentCD,
    PseudoLikelihood,
    SlicedScoreMatching,
    fit,
)
from tests.seeds import seeded

SGD = partial(torch.optim.SGD, lr=0.1)
DATA = torch.randint(2, (60, 4), generator=seeded(1)).float()


def rbm() -> ig.RBM:
    return ig.RBM(ig.Bernoulli(4), ig.Bernoulli(2), scale=0.1, generator=seeded(2))


def learn(**settings: Any) -> FitReport:
    given: dict[str, Any] = {
        "energy": rbm(),
        "data": DATA,
        "epochs": 2,
        "optimizer": SGD,
        "progress": False,
    }
    given["generator"] = seeded(3)
    return fit(**given | settings)


@pytest.mark.parametrize(
    "name",
    ["ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam",
     "RMSprop", "Rprop", "SGD"],
)  # fmt: skip
def test_optimizers_of_torch_learn(name):
    learner = rbm()
    learn(energy=learner, optimizer=getattr(torch.optim, name))
    assert not torch.equal(learner.weight, rbm().weight)


@pytest.mark.parametrize(
    "scheduler",
    [
        partial(lr_scheduler.LinearLR, start_factor=1.0, end_factor=0.01, total_iters=5),
        partial(lr_scheduler.LambdaLR, lr_lambda=lambda epoch: 0.5**epoch),
        partial(lr_scheduler.CosineAnnealingLR, T_max=5),
        partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=5, cycle_momentum=False),
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o, 1.0), lr_scheduler.ExponentialLR(o, 0.1)], [1]
        ),
    ],
    ids=["linear", "lambda", "cosine", "one cycle", "sequential"],
)  # fmt: skip
def test_schedulers_are_stepped_once_an_epoch(scheduler):
    rates = []

    def kept(parameters):
        optimizer = SGD(parameters)
        optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
        return optimizer

    learn(optimizer=kept, scheduler=scheduler, epochs=5, batch_size=30)
    assert rates[::2] == rates[1::2]  # two steps an epoch
    assert rates[0] != rates[-1]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_plateau_is_one_of_the_score_in_both_modes(mode):
    """On the way up the rate is kept, on the way down (ascent) halved after every epoch.

    Bits that are mostly one drive every bias up, and so the likelihood of ones, by half of what
    their means exceed ½ a bit: 0.3 ± 0.05, at a rate of 0.1 where curvature is at most 10.
    """
    data = (torch.rand(60, 4, generator=seeded(4)) < 0.8).float()
    for ascent, end in ((False, 0.1), (True, 0.1 / 8)):
        made = []

        def kept(optimizer, made=made):
            plateau = partial(lr_scheduler.ReduceLROnPlateau, mode=mode, patience=0, factor=0.5)
            made.append(plateau(optimizer, threshold=0.0))
            return made[0]

        report = learn(
            objective=ExactGradient(), epochs=4, scheduler=kept,
            data=data, validation=torch.ones(9, 4), batch_size=60,
            optimizer=partial(torch.optim.SGD, lr=0.1, maximize=ascent),
        )  # fmt: skip
        assert made[0].get_last_lr() == [pytest.approx(end)]
        best = max if mode == "max" else min
        signed = [s if mode == "max" else -s for s in report["validation log-likelihood"]]
        assert made[0].best == best(signed)


def test_a_plateau_needs_a_score():
    real = ig.RBM(ig.Gaussian(3), ig.Bernoulli(30))
    with pytest.raises(IntractableError, match="ais"):
        learn(energy=real, data=torch.randn(9, 3), scheduler=lr_scheduler.ReduceLROnPlateau)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"optimizer": torch.optim.LBFGS}, "LBFGS.*Adam"),
        ({"optimizer": torch.optim.SparseAdam}, "SparseAdam.*Adam"),
        ({"optimizer": "adam"}, "not callable.*partial"),
        ({"optimizer": SGD(rbm().parameters())}, "not callable.*partial"),
        ({"optimizer": partial(torch.optim.SGD, lr=-1)}, "learning rate: -1.*partial"),
        ({"optimizer": lambda _: 3}, "makes a int"),
        ({"scheduler": 5}, "not callable.*StepLR"),
        ({"scheduler": lr_scheduler.StepLR}, "step_size"),
        ({"scheduler": lambda _: SGD}, "makes a partial"),
        ({"on_epoch": 3}, "on_epoch = 3.*function"),
        ({"generator": 3}, "generator = 3.*torch.Generator"),
        ({"checkpoint": 5}, "checkpoint = 5.*path"),
        ({"autocast": "bf16"}, "autocast = 'bf16'.*torch.bfloat16"),
        ({"autocast": torch.int32}, "autocast.*torch.bfloat16"),
        ({"score": "exact"}, r"score = 'exact'.*Likelihood\('exact'\)"),
        ({"average": 1.0}, "average = 1.*below 1"),
    ],
)
def test_wrong_settings_are_named_with_a_remedy(settings, what, unannotated):
    learner = rbm()
    with pytest.raises(ParameterError, match=what):
        learn(energy=learner, **settings)
    assert torch.equal(learner.weight, rbm().weight)


@pytest.mark.parametrize(
    ("first", "then", "what"),
    [
        ({}, {"optimizer": partial(torch.optim.SGD, lr=0.0)}, "optimizer = .*SGD.*'lr': 0.0"),
        ({}, {"average": 0.9}, "average = None, this run has average = 0.9"),
        ({"average": 0.9}, {"average": 0.99}, "average = 0.9, this run has average = 0.99"),
        ({"average": 0.9}, {}, "average = 0.9, this run has average = None"),
        (
            {}, {"scheduler": partial(lr_scheduler.StepLR, step_size=2)},
            "scheduler = None, this run has scheduler = .*StepLR",
        ),
        (
            {"scheduler": partial(lr_scheduler.StepLR, step_size=2)},
            {"scheduler": partial(lr_scheduler.StepLR, step_size=3)},
            "'step_size': 2.*'step_size': 3",
        ),
        ({}, {"validation": DATA}, "validation = None"),
        ({"validation": DATA}, {"validation": 1 - DATA}, "validation = "),
        ({}, {"score": Likelihood("pseudo")}, "score = Likelihood.*pseudo"),
    ],
    ids=[
        "rate", "average", "decay", "no average", "scheduler", "step size", "validation",
        "other validation", "score",
    ],
)  # fmt: skip
def test_a_run_that_goes_on_otherwise_is_refused(tmp_path, first, then, what):
    path = tmp_path / "kept"
    learn(checkpoint=path, **first)
    kept = path.read_bytes()
    with pytest.raises(FileError, match=what):
        learn(checkpoint=path, resume=True, epochs=4, **then)
    assert path.read_bytes() == kept


def test_more_epochs_and_another_patience_are_no_other_run(tmp_path):
    settings = {
        "checkpoint": tmp_path / "kept", "validation": DATA, "average": 0.5, "every": 2,
        "scheduler": partial(lr_scheduler.ReduceLROnPlateau, patience=1), "resume": True,
    }  # fmt: skip
    learn(patience=1, epochs=3, objective=ExactGradient(), **settings)
    learner, whole = rbm(), rbm()
    report = learn(energy=learner, epochs=6, objective=ExactGradient(), **settings)
    assert len(report.history) == report.best_epoch == 6  # without patience, the last is kept
    settings |= {"checkpoint": None, "resume": False}
    learn(energy=whole, epochs=6, objective=ExactGradient(), **settings)
    assert torch.equal(learner.weight, whole.weight)


def test_a_folder_is_no_checkpoint(tmp_path):
    for resume in (False, True):
        with pytest.raises(FileError, match=r"it is a folder.*run\.safetensors"):
            learn(checkpoint=tmp_path, resume=resume)


def test_objectives_that_do_not_suit_name_those_that_do():
    for objective in (DenoisingScoreMatching(0.1), SlicedScoreMatching()):
        with pytest.raises(IntractableError, match=r"PersistentCD.*PseudoLikelihood"):
            learn(objective=objective)
    deep = ig.DeepEnergy(torch.nn.Linear(4, 1), 4)
    with pytest.raises(IntractableError, match=r"PersistentCD.*DenoisingScoreMatching"):
        learn(energy=deep, objective=ExactGradient())


class Unlearnable(ig.RBM):
    """Its log Z is right, and a constant."""

    def exact_log_partition(self, temperature=None):
        return super().exact_log_partition(temperature).detach()


def test_the_exact_gradient_needs_that_of_log_z():
    machine = Unlearnable(ig.Bernoulli(4), ig.Bernoulli(2))
    with pytest.raises(IntractableError, match="carries no gradient"):
        ExactGradient().loss(machine, DATA, {})
    with torch.no_grad():
        loss, _ = ExactGradient().loss(machine, DATA, {})
    assert float(loss) > 0


@pytest.mark.parametrize(
    ("unit", "count"),
    [
        (ig.Bernoulli(4), 4),
        (ig.Categorical(6, groups=2), 2),
        (ig.Mixed([ig.Bernoulli(2), ig.Categorical(3)]), 3),
    ],
    ids=["bits", "one-hot", "mixed"],
)
def test_no_more_sites_than_units(unit, count):
    machine = ig.RBM(unit, ig.Bernoulli(2), generator=seeded())
    data = unit.sample(torch.zeros(5, unit.size), 1.0, seeded())
    PseudoLikelihood(count).loss(machine, data, {})
    with pytest.raises(ParameterError, match=f"{count + 1} of {count} units"):
        PseudoLikelihood(count + 1).loss(machine, data, {})


def test_chains_that_do_not_mix_are_named_in_the_report():
    history = [{"epoch": 1.0, "R-hat": 1.01, "log-likelihood": -2.0}]
    assert str(FitReport(history, "all epochs", 1)) == "all epochs: epoch 1, log-likelihood -2"
    report = FitReport(
        [*history, {"epoch": 2.0, "R-hat": 1.3, "log-likelihood": -3.0}], "all epochs", 2
    )
    assert "log-likelihood -3 (best -2), R-hat 1.3: the chains do not mix" in str(report)


def test_little_data_have_chain_health_too():
    pytest.importorskip("arviz")
    assert "R-hat" in learn(objective=PersistentCD(chains=20), epochs=200, batch_size=60,
                            score=Likelihood(every=100)).history[-1]  # fmt: skip


def test_weights_out_of_all_bounds_are_divergence():
    learner = rbm()
    with pytest.raises(ig.errors.DivergenceError, match="Lower the learning rate"):
        learn(energy=learner, optimizer=partial(torch.optim.SGD, lr=1e30))
    assert torch.equal(learner.weight, rbm().weight)


def test_paths_may_be_words(tmp_path):
    learn(checkpoint=str(tmp_path / "kept"))
    assert Path(tmp_path / "kept").exists()
