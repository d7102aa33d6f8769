"""Imagine: a Hopfield–Boltzmann machine of digits, its likelihood exact, its samples and halves."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from isinglass._support.optional import require_extra
from isinglass._support.progress import Progress
from isinglass.cli.tour.chapter import (
    COLORS,
    Chapter,
    Drawing,
    Fact,
    new_figure,
    show_image,
)
from isinglass.cli.tour.remember import UPPER
from isinglass.data.digits import LEVELS, SIDE, Digits, load_digits
from isinglass.energies import RBM, HopfieldBoltzmann
from isinglass.learning import expectation_maximization, seed_memories
from isinglass.units import Bernoulli, Categorical, Unit

with require_extra("sklearn"):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from sklearn.neural_network import BernoulliRBM
    from threadpoolctl import threadpool_limits

PIXELS = SIDE * SIDE
HIDDEN = 16

LEAD = """At temperature 1/β the modern memory is a Boltzmann machine whose likelihood, samples and
conditionals are all closed formulas. It is learned by expectation–maximization: each memory becomes
the mean of the digits, weighted by its responsibilities for them. Here it learns gray digits,
every pixel one of 17 levels, and digits of ink and paper; every model is chosen on the validation
digits and measured once on the test digits."""


@dataclass(frozen=True)
class Fit:
    """Log-likelihoods of a fitted model in nats an image, and its settings in words."""

    valid: float
    test: float
    settings: str
    machine: HopfieldBoltzmann | None = None
    history: tuple[float, ...] = ()


def imagine(progress: Progress, seed: int) -> Chapter:
    """Fits the models and their peers, and returns the chapter."""
    parts = load_digits(seed)
    chapter = Chapter("imagine", "Imagine: sample the energy", LEAD)
    progress(0.02, "Hopfield–Boltzmann machine, gray")
    categorical = Categorical(PIXELS * LEVELS, groups=PIXELS)
    gray = _best(_machines(categorical, [d.one_hot() for d in parts], [20, 50], [4, 8, 16], seed))
    progress(0.2, "scikit-learn's GaussianMixture")
    mixture = _best(_mixtures(parts, seed, lambda share, what: progress(0.2 + 0.45 * share, what)))
    progress(0.65, "Hopfield–Boltzmann machine, ink and paper")
    inked = [d.bits() for d in parts]
    ink = _best(_machines(Bernoulli(PIXELS), inked, [50, 100, 200], [0.5, 1.0, 2.0], seed))
    progress(0.7, "scikit-learn's BernoulliRBM")
    rbm = _best(_rbms(inked, seed, lambda share, what: progress(0.7 + 0.25 * share, what)))
    for what, own, name, peer in (
        ("gray digits", gray, "GaussianMixture", mixture),
        ("ink and paper", ink, "BernoulliRBM", rbm),
    ):
        chapter.facts.append(
            Fact(
                f"{what}: test log-likelihood, nats an image (higher is better)",
                f"{own.test:.2f}",
                f"{name} {peer.test:.2f}",
            )
        )
        chapter.notes.append(
            f"{what.capitalize()}: Hopfield–Boltzmann machine of {own.settings}; scikit-learn's "
            f"{name} of {peer.settings}; each the best of its grid on the validation digits."
        )
    chapter.notes.append(
        "A Gaussian mixture has a density, not probabilities of levels: it is fitted to "
        "(level + uniform noise)/17, and its mean log density less 64 log 17 is a lower bound on "
        f"its log-likelihood (Theis et al. 2016, arXiv:1511.01844). The RBM has {HIDDEN} hidden "
        "units, so that its partition function can be summed exactly over 65,536 states."
    )
    progress(0.96, "samples and completions")
    if gray.machine is not None:
        chapter.pictures = _pictures(gray, gray.machine, parts[2], seed)
    progress(1.0, "done")
    return chapter


def _size(unit: Unit) -> str:
    """Say how large one memory is."""
    return f"{PIXELS} pixels" + (f" × {LEVELS} levels" if unit.size > PIXELS else "")


def _best(fits: Iterator[Fit]) -> Fit:
    return max(fits, key=lambda fit: fit.valid)


def _machines(
    unit: Unit, parts: list[Tensor], memories: list[int], pseudo_counts: list[float], seed: int
) -> Iterator[Fit]:
    train, valid, test = parts
    for count, pseudo_count in product(memories, pseudo_counts):
        generator = torch.Generator().manual_seed(seed)
        machine = HopfieldBoltzmann(unit, count, generator=generator).to(train.dtype)
        seed_memories(machine, train, generator)
        report = expectation_maximization(machine, train, pseudo_count=pseudo_count, tolerance=1e-3)
        with torch.no_grad():
            yield Fit(
                float(machine.log_prob(valid).mean()),
                float(machine.log_prob(test).mean()),
                f"{count} memories × {_size(unit)}, pseudo-count {pseudo_count:g}",
                machine,
                tuple(report.log_likelihood),
            )


def _mixtures(parts: tuple[Digits, ...], seed: int, progress: Progress) -> Iterator[Fit]:
    """Fit Gaussian mixtures of every shape of covariance, most of the shape that does best."""
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.rand(d.images.shape, generator=generator).double() for d in parts]
    train, valid, test = (
        ((d.images + u) / LEVELS).numpy() for d, u in zip(parts, noise, strict=True)
    )
    grid = [
        *product(["diag"], [20, 50, 100], [1e-6, 1e-3]),
        ("spherical", 100, 1e-6),
        ("tied", 20, 1e-6),
        ("full", 10, 1e-3),
    ]
    constant = PIXELS * math.log(LEVELS)
    for number, (shape, count, floor) in enumerate(grid):
        progress(number / len(grid), f"GaussianMixture, {shape} {count}")
        model = GaussianMixture(count, covariance_type=shape, reg_covar=floor, random_state=seed)
        # The products are small: a second thread of numpy's would only wait, at full speed.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(train)
        yield Fit(
            model.score(valid) - constant,
            model.score(test) - constant,
            f"{count} components × {PIXELS} pixels, covariance_type={shape!r}, reg_covar={floor:g}",
        )


def _rbms(parts: list[Tensor], seed: int, progress: Progress) -> Iterator[Fit]:
    train, valid, test = parts
    grid = [(0.02, 100), (0.01, 1000), (0.005, 1000)]
    for number, (rate, epochs) in enumerate(grid):
        progress(number / len(grid), f"BernoulliRBM, rate {rate}, {epochs} epochs")
        peer = BernoulliRBM(HIDDEN, learning_rate=rate, n_iter=epochs, random_state=seed)
        with threadpool_limits(1):
            peer.fit(train.numpy())
        weight = torch.from_numpy(peer.components_)
        biases = torch.from_numpy(peer.intercept_visible_), torch.from_numpy(peer.intercept_hidden_)
        seen = _machine_of(Bernoulli(PIXELS), Bernoulli(HIDDEN), weight, *biases)
        transposed = _machine_of(Bernoulli(HIDDEN), Bernoulli(PIXELS), weight.mT, *reversed(biases))
        with torch.no_grad():
            hidden_states = transposed.visible.enumerate_states()
            log_z = torch.logsumexp(-transposed.free_energy(hidden_states), 0)
            yield Fit(
                float((-seen.free_energy(valid) - log_z).mean()),
                float((-seen.free_energy(test) - log_z).mean()),
                f"{HIDDEN} hidden units × {PIXELS} pixels, learning rate {rate:g}, {epochs} epochs",
            )


def _machine_of(visible: Unit, hidden: Unit, weight: Tensor, b: Tensor, c: Tensor) -> RBM:
    """Make an :class:`RBM` of scikit-learn's parameters, whose likelihood can be summed."""
    machine = RBM(visible, hidden).double()
    for parameter, value in zip(machine.parameters(), (weight, b, c), strict=True):
        parameter.data = value.to(parameter.dtype)
    return machine


def _levels(one_hot: Tensor) -> Tensor:
    """Return the mean gray level of a distribution over levels."""
    return one_hot.unflatten(-1, (PIXELS, LEVELS)) @ torch.arange(LEVELS, dtype=one_hot.dtype)


def _pictures(fit: Fit, machine: HopfieldBoltzmann, test: Digits, seed: int) -> list[Drawing]:
    generator = torch.Generator().manual_seed(seed)
    samples = _levels(machine.sample(20, generator=generator))
    one_hot = test.one_hot()[:6]
    with torch.no_grad():
        half = machine.conditional(one_hot, UPPER.repeat_interleave(LEVELS))
        mean, draws = _levels(half.mean()), [_levels(half.sample(generator)) for _ in range(3)]

    figure = new_figure(9.6, 2.4)
    panel, right = figure.subfigures(1, 2, width_ratios=[2.4, 1], squeeze=False)[0]
    for axes, image in zip(panel.subplots(2, 10).flat, samples, strict=True):
        show_image(axes, image.reshape(SIDE, SIDE))
    axes = right.subplots()
    axes.plot(fit.history, "o-", color=COLORS["own"], markersize=3)
    axes.set_xlabel("EM step")
    axes.set_ylabel("nats an image, train")
    fresh = Drawing(
        figure,
        "Fresh samples, exact and independent; beside them, how learning went.",
        "Twenty images that look like handwritten digits, and a curve that rises and levels off.",
    )

    figure = new_figure(6.4, 5.2)
    grid = figure.subplots(6, 6)
    titles = ["seen", "mean", "draw", "draw", "draw", "truth"]
    for row in range(6):
        seen = torch.where(UPPER, test.images[row], 0.0)
        images = [seen, mean[row], *(d[row] for d in draws), test.images[row]]
        for column, image in enumerate(images):
            edge = COLORS["ink"] if column == 5 else None
            title = titles[column] if row == 0 else ""
            show_image(grid[row, column], image.reshape(SIDE, SIDE), title, edge)
    halves = Drawing(
        figure,
        "Test digits whose lower halves are missing, completed by the exact conditional: its mean, "
        "three draws, and the truth.",
        "Six rows of images: the mean is blurred below, the draws are sharp and differ.",
    )
    return [fresh, halves]
