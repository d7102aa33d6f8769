"""The modern Hopfield net as a Boltzmann machine: softmax groups for hidden units."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    check_count,
    check_features,
    check_finite,
    check_generator,
    check_like,
    check_patterns,
    check_positive,
)
from isinglass.core.numbers import Numbered
from isinglass.core.path import AnnealingPath
from isinglass.distributions.pattern_mixture import PatternMixture
from isinglass.energies.layered.draw_count_path import DrawCountPath, one_draw
from isinglass.energies.layered.harmonium import Harmonium
from isinglass.errors import IntractableError, ShapeError
from isinglass.units import Gaussian, Multinomial, Unit
from isinglass.units.base import check_unit

__all__ = ["HopfieldBoltzmann"]


class HopfieldBoltzmann(Numbered, Harmonium):
    r"""Visible units and groups of memories: F(v) = U(v) − b·v − Σ_g lse_β(c_g + X_g v).

    At temperature T = 1/(mβ), m = ``draws``, the machine has exact conditionals

        n | v ~ Multinomial(m, softmax(β(c + Xv)))      v | n ~ exp(((b + Xᵀn/m)·v − U(v))/T)

    whose mean is the Hopfield update, an attention head; m → ∞ is the Transformer and m = 1 is
    hard attention. For one group and one draw everything is closed: with p(μ) and the unit's A,

        Z = Σ_μ exp(β(c_μ + A_T(x_μ + b)))

    so :meth:`log_prob`, :meth:`sample` and :meth:`conditional` are exact and immediate.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217; Ota & Karakida 2023, arXiv:2212.04692
    (m = 1, Gaussian: the attentional Boltzmann machine).

    Args:
        visible: Kind and size of the visible units.
        memories: N, how many memories each group holds.
        groups: How many softmax groups: 1 is a mixture, more are a product of mixtures.
        draws: m, how many memories each group looks up at once; sets ``temperature``.
        beta: β, inverse temperature inside each group's softmax.
        scale: Standard deviation of the initial patterns.
        generator: Source of the initial patterns; None is torch's global one.

    Raises:
        ParameterError: If ``beta`` is not above zero, or a count is not a whole number above 0.

    Examples:
        Learn two patterns by EM, sample, and complete what is half seen, all exactly:

        >>> import isinglass as ig
        >>> generator = torch.Generator().manual_seed(0)
        >>> data = torch.tensor([[1.0, 1, 1, -1], [-1, -1, -1, 1]]).repeat(100, 1)
        >>> machine = HopfieldBoltzmann(ig.Spin(4), memories=2, generator=generator)
        >>> report = ig.learning.expectation_maximization(machine, data, pseudo_count=1.0)
        >>> draws = machine.sample(1000, generator=generator)  # (1000, 4), of ±1
        >>> bool((draws[:, 0] == draws[:, 1]).float().mean() > 0.9)
        True
        >>> seen = torch.tensor([True, True, False, False])
        >>> machine.conditional(torch.tensor([1.0, 1, 0, 0]), seen).mean().detach().sign()
        tensor([ 1.,  1.,  1., -1.])
    """

    numbers: ClassVar[tuple[str, ...]] = ("beta",)
    adopts: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"draws": int}

    def __init__(
        self,
        visible: Unit,
        memories: int,
        groups: int = 1,
        draws: int = 1,
        *,
        beta: float = 1.0,
        scale: float = 0.1,
        generator: Generator | None = None,
    ) -> None:
        self.beta = check_positive("beta", beta)
        self.memories = check_count("memories", memories)
        self.groups = check_count("groups", groups)
        self.draws = check_count("draws", draws)
        hidden = Multinomial(groups * memories, beta=beta, groups=groups)
        super().__init__([visible, hidden], scale=scale, generator=generator)

    @classmethod
    def from_patterns(
        cls, visible: Unit, patterns: Float[Tensor, "N d"], *, beta: float = 1.0, draws: int = 1
    ) -> HopfieldBoltzmann:
        """Builds one group whose memories are these patterns, one a row.

        Raises:
            ShapeError: If there is no pattern, or it does not fit the visible units.
            DomainError: If a pattern is not finite.
        """
        check_patterns(patterns)
        check_unit(visible)
        if patterns.shape[-1] != visible.size:
            raise ShapeError(
                f"patterns of shape {tuple(patterns.shape)} for {visible.size} visible units",
                "Give patterns with one column a visible unit",
            )
        machine = cls(visible, len(patterns), beta=beta, draws=draws).to(patterns)
        machine.patterns.data.copy_(patterns)
        return machine

    @classmethod
    def attentional(
        cls,
        weight: Float[Tensor, "N d"],
        visible_bias: Float[Tensor, " d"] | None = None,
        memory_bias: Float[Tensor, " N"] | None = None,
    ) -> HopfieldBoltzmann:
        r"""Builds the attentional Boltzmann machine: E(v) = ½|v − b|² − lse(Wv + c).

        It is the machine of one group, one draw and Gaussian visible units at β = 1, whose F
        lacks the constant ½|b|²: F(v) = E(v) − ½|b|², so the log-partition function of E is
        log Z = lse_μ(½|w_μ|² + b·w_μ + c_μ) + (d/2) log 2π = that of F − ½|b|².

        Reference: Ota & Karakida 2023, arXiv:2212.04692.

        Args:
            weight: W, one memory a row.
            visible_bias: b; None is zero.
            memory_bias: c; None is zero.

        Raises:
            ShapeError: If W is no matrix of rows, or a bias does not fit it.
            DomainError: If a value is not finite.

        Examples:
            >>> machine = HopfieldBoltzmann.attentional(torch.eye(3), torch.ones(3))
            >>> v = torch.zeros(1, 3)
            >>> machine.free_energy(v) + 3 / 2  # 3/2 - log 3
            tensor([0.4014], grad_fn=<AddBackward0>)
        """
        check_patterns(weight)
        machine = cls.from_patterns(Gaussian(weight.shape[-1]), weight)
        biases = ((machine.visible_bias, visible_bias), (machine.memory_bias, memory_bias))
        for own, bias in biases:
            if bias is None:
                continue
            if bias.shape != own.shape:
                raise ShapeError(
                    f"a bias of shape {tuple(bias.shape)} for W of shape {tuple(weight.shape)}",
                    "Give one visible bias a column of W, one memory bias a row",
                )
            check_finite("a bias", bias)
            own.data.copy_(bias)
        return machine

    @property
    def layers(self) -> tuple[Unit, ...]:
        """Visible units, and the groups at the present ``beta`` (which learning may change)."""
        # Asked for several times a sweep: kept, and made anew where it says another beta.
        if self._layers[1].beta != self.beta:
            size = self.groups * self.memories
            hidden = Multinomial(size, beta=self.beta, groups=self.groups)
            self._layers = (self._layers[0], hidden)
        return self._layers

    @property
    def temperature(self) -> float:
        """Temperature T = 1/(mβ) of the machine."""
        return 1 / (self.draws * self.beta)

    @property
    def patterns(self) -> Tensor:
        """X, one memory a row, ``(groups · memories, d)``, group by group."""
        return self.weights[0]

    @property
    def visible_bias(self) -> Tensor:
        """Bias b of the visible units, ``(d,)``."""
        return self.biases[0]

    @property
    def memory_bias(self) -> Tensor:
        """c, ``(groups · memories,)``."""
        return self.biases[1]

    def mixture(self) -> PatternMixture:
        """Writes the machine as an exact mixture over its memories.

        Raises:
            IntractableError: If it has several groups or draws.
        """
        if self.groups != 1 or self.draws != 1:
            raise IntractableError(
                f"groups = {self.groups} and draws = {self.draws} leave no closed form",
                "Use groups=1 and draws=1, or sample with BlockGibbs at machine.temperature",
            )
        return one_draw(self)

    def exact_log_partition(self, temperature: float | None = None) -> Tensor:
        """Computes log Z: a closed form for one group and one draw, else a sum over states.

        Raises:
            IntractableError: If there is no closed form and more than 2²² states.
            ParameterError: If the temperature is not 1/(mβ).
        """
        temperature = self.temperature if temperature is None else temperature
        if self.groups == 1 and math.isclose(temperature * self.beta, 1.0, rel_tol=1e-6):
            return one_draw(self).value().double() * self.beta
        return super().exact_log_partition(temperature)

    def path(
        self, temperature: float | None = None, data: Float[Tensor, "n d"] | None = None
    ) -> AnnealingPath:
        """Returns the path over the number of draws for one group, else over λ.

        Raises:
            DomainError: If the data are not visible states.
            ParameterError: If the temperature is not 1/(mβ).
        """
        if self.groups == 1:
            return DrawCountPath(self, temperature)
        return super().path(temperature, data)

    def log_prob(self, visible: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes log p(v) = −F(v)/T − log Z, exactly (a log density for continuous units).

        Raises:
            ShapeError: If the visible states have the wrong number of features.
            DomainError: If they are not states of the visible units.
            IntractableError: If the machine has several groups or draws.
        """
        self.visible.check(visible)
        check_like(visible, self.patterns)
        return self.mixture().log_prob(visible)

    def sample(
        self, count: int, *, steps: int = 100, generator: Generator | None = None
    ) -> Float[Tensor, "n d"]:
        """Draws visible states: with one group and one draw a memory, then every unit by itself.

        These draws are exact and independent. With several groups or draws they are exact where
        states can be listed, else those of ``steps`` steps of replica exchange: see
        :meth:`isinglass.Harmonium.sample`.

        Args:
            count: How many states to draw.
            steps: Steps of replica exchange where there is no closed form.
            generator: Source of randomness; None is torch's global one.

        Raises:
            ParameterError: If ``count`` or ``steps`` is not a whole number of at least one.

        Examples:
            >>> from isinglass import Spin
            >>> machine = HopfieldBoltzmann(Spin(10), memories=6, groups=2)
            >>> machine.sample(3, generator=torch.Generator().manual_seed(0)).shape
            torch.Size([3, 10])
        """
        if self.groups != 1 or self.draws != 1:
            return super().sample(count, steps=steps, generator=generator)
        check_count("steps", steps)
        check_generator(generator)
        with torch.no_grad():
            return self.mixture().sample_n(count, generator)

    def conditional(
        self, visible: Float[Tensor, "*batch d"], observed_mask: Bool[Tensor, "*mask"]
    ) -> PatternMixture:
        r"""Builds the exact distribution of the unobserved units given the observed ones.

        With several groups or draws :func:`~isinglass.impute` draws from it by Gibbs sweeps.

            p(μ | v_O) ∝ exp(β(c_μ + Σ_{i∈O} (x_μi + b_i) v_i)) Π_{i∉O} exp(β A_T(x_μi + b_i))

        Args:
            visible: Visible states; where they are not observed they may be anything.
            observed_mask: True where a unit is observed.

        Returns:
            A mixture whose ``mean()``, ``sample(generator)`` and ``log_weights()`` are exact.

        Raises:
            ShapeError: If a shape is wrong or the mask cuts through a one-hot unit.
            DomainError: If an observed value is not a state of the visible units.
            IntractableError: If the machine has several groups or draws.

        Examples:
            >>> from isinglass import Spin
            >>> machine = HopfieldBoltzmann.from_patterns(
            ...     Spin(4), torch.tensor([[1.0, 1, 1, 1], [-1, -1, -1, -1]]), beta=3.0)
            >>> seen = torch.tensor([True, True, False, False])
            >>> cue = torch.tensor([-1.0, -1, 0, 0])
            >>> bool((machine.conditional(cue, seen).mean()[2:] < -0.99).all())
            True
        """
        check_features(visible, self.visible.size)
        check_like(visible, self.patterns)
        return self.mixture().condition(visible, observed_mask)

    def config(self) -> dict[str, Any]:
        """Returns visible kind, counts and β."""
        return {
            "visible": self.visible.config(),
            "memories": self.memories,
            "groups": self.groups,
            "draws": self.draws,
            "beta": self.beta,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> HopfieldBoltzmann:
        """Returns a machine of the same shape."""
        settings: dict[str, Any] = config | {"visible": Unit.from_config(config["visible"])}
        return cls(**settings)
