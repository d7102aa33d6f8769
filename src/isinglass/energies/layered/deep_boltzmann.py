"""Deep Boltzmann machines: layers joined both ways, hidden ones among themselves too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import (
    check_at_least_zero,
    check_count,
    check_like,
    check_positive,
)
from isinglass.energies.layered._layer_graph import check_layers, colors, outward
from isinglass.energies.layered.harmonium import Harmonium
from isinglass.errors import IntractableError, ParameterError
from isinglass.units import Mixed, Unit

__all__ = ["DeepBoltzmann", "MeanField"]

MOST_STATES = 2**16  # of hidden layers, enumerated for every row
MOST_VALUES = 2**24  # held at once


@dataclass(frozen=True)
class MeanField:
    """Where mean-field inference ended, row by row.

    Attributes:
        state: The visible states, and the means of the hidden layers, ``(*batch, size)``.
        fields: The fields that have these means; zero for the visible layer.
        free_energy: The variational free energy G ≥ F, ``(*batch)``.
        steps: Steps that each row took.
        residual: Largest change of any mean in the row's last step.
        converged: Whether that change was within the tolerance.

    Examples:
        >>> import isinglass as ig
        >>> machine = DeepBoltzmann([ig.Bernoulli(3), ig.Bernoulli(2), ig.Bernoulli(1)])
        >>> found = machine.mean_field(torch.ones(5, 3))
        >>> found.state.shape, bool(found.converged.all())
        (torch.Size([5, 6]), True)
    """

    state: Float[Tensor, "*batch size"]
    fields: Float[Tensor, "*batch size"]
    free_energy: Float[Tensor, "*batch"]
    steps: Int[Tensor, "*batch"]
    residual: Float[Tensor, "*batch"]
    converged: Bool[Tensor, "*batch"]

    def __str__(self) -> str:
        return (
            f"{int(self.converged.sum())} of {self.converged.numel()} converged, "
            f"{int(self.steps.min())}–{int(self.steps.max())} steps, "
            f"free energy at most {self.free_energy.mean():.4g} on average"
        )


class DeepBoltzmann(Harmonium):
    r"""A graph of layers joined both ways: E(s) = Σ_a [U(s_a) − b_a·s_a] − Σ_{(a,b)} s_bᵀ W_ab s_a.

    Hidden layers that touch cannot be summed out. Mean-field inference takes them as independent,
    q(h) = Π_a q_a(h_a), and descends the variational free energy layer by layer,

        G(v, q) = ⟨E(v, h)⟩_q − T·entropy(q) ≥ F(v),       m_a ← ∂A_T(b_a + Σ_b W_ab m_b)

    each step of which minimizes G exactly, so that it never rises. With log Z it bounds the
    likelihood, log p(v) ≥ −G/T − log Z; with one hidden layer the bound is tight.

    Learning lowers G on data, at means that are held fixed while the parameters move, and raises
    E on fantasies; fantasies come from block Gibbs, where layers that do not touch are drawn
    together: in a stack all of odd number, then all of even number.

    Reference: Salakhutdinov & Hinton 2009, "Deep Boltzmann machines", AISTATS;
    Salakhutdinov & Larochelle 2010, "Efficient learning of deep Boltzmann machines", AISTATS.

    Args:
        layers: The kind and size of each layer, visible first.
        couplings: Pairs of layers that are joined; None joins each to the next, a stack.
        scale: Standard deviation of the initial weights; biases start at zero.
        generator: Source of the initial weights; None is torch's global one.

    Raises:
        ParameterError: If there is no hidden layer, if one is not reached from the visible layer,
            is no unit or averages several draws, or if a coupling is wrong.

    Examples:
        >>> import isinglass as ig
        >>> machine = DeepBoltzmann([ig.Bernoulli(6), ig.Bernoulli(4), ig.Bernoulli(2)], scale=0.5)
        >>> found = machine.mean_field(torch.ones(3, 6))
        >>> bool((found.free_energy >= machine.free_energy(torch.ones(3, 6)) - 1e-5).all())
        True
    """

    def __init__(
        self,
        layers: Sequence[Unit],
        couplings: Sequence[tuple[int, int]] | None = None,
        *,
        scale: float = 0.01,
        generator: Generator | None = None,
    ) -> None:
        check_layers(layers)
        if couplings is None:
            couplings = [(index, index + 1) for index in range(len(layers) - 1)]
        super().__init__(layers, couplings, scale=scale, generator=generator)
        self._outward = outward(len(layers), self.couplings)
        if not 1 < len(layers) == len(self._outward):
            raise ParameterError(
                f"{len(layers)} layers with couplings {list(self.couplings)}",
                "Give hidden layers, each joined to the visible one, number 0, at least through "
                "others",
            )
        first, *others = colors(len(layers), self.couplings)
        self._colors = [first[1:], *others]  # the hidden layers
        averaged = [layer for layer in layers if layer.has_multiplicity]
        if averaged:
            raise ParameterError(
                f"a layer of several draws, {averaged[0]}",
                "Use Categorical layers here, or HopfieldBoltzmann, which takes several draws",
            )

    @torch.no_grad()
    def mean_field(
        self,
        visible: Float[Tensor, "*batch d"],
        temperature: float | None = None,
        *,
        steps: int = 100,
        tolerance: float = 1e-4,
    ) -> MeanField:
        """Infers the means of the hidden layers, each in turn, outward from the visible one.

        Rows that rest are left alone, so that a row's result does not depend, but for rounding, on
        the others.

        Args:
            visible: Visible states, ``(*batch, d)``.
            temperature: T > 0; None is the machine's own.
            steps: Most steps a row may take; each updates every hidden layer once.
            tolerance: Largest change of a mean in one step that counts as rest.

        Raises:
            ShapeError: If the visible states have the wrong number of features.
            DomainError: If they are not states of the visible units.
            ParameterError: If ``temperature`` is not above zero, or another argument is negative.
        """
        temperature = self._check("mean_field", visible, temperature)
        check_count("steps", steps)
        check_at_least_zero("tolerance", tolerance)
        batch = visible.shape[:-1]
        state = self.extend(visible.reshape(-1, visible.shape[-1]))
        fields = torch.zeros_like(state)
        active = torch.arange(len(state), device=state.device)
        taken = torch.zeros_like(active)
        residual = torch.full_like(state[:, 0], torch.inf)
        for step in range(1, steps + 1):
            before = state[active]
            state[active], fields[active] = self._infer(before, temperature)
            taken[active] = step
            residual[active] = (state[active] - before).abs().amax(-1)
            active = active[residual[active] > tolerance]
            if len(active) == 0:
                break
        return MeanField(
            state.unflatten(0, batch) if batch else state[0],
            fields.unflatten(0, batch) if batch else fields[0],
            self._variational(state, fields, temperature).reshape(batch),
            taken.reshape(batch),
            residual.reshape(batch),
            (residual <= tolerance).reshape(batch),
        )

    def _infer(self, state: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Hidden means, each layer given the latest of the others, and the fields they follow."""
        parts = list(self.split(state))
        fields = [torch.zeros_like(part) for part in parts]
        for index in self._outward[1:]:
            fields[index] = self._field(parts, index)
            parts[index] = self.layers[index].mean(fields[index], temperature)
        return torch.cat(parts, -1), torch.cat(fields, -1)

    def _variational(self, state: Tensor, fields: Tensor, temperature: float) -> Tensor:
        """G(v, q) = U(v) − agreement of v and the means + Σ_a [I_a·m_a − A_T(I_a)]."""
        parts = self.split(state)
        total = self.visible.base_measure_energy(parts[0], temperature) - self._agreement(parts)
        hidden = zip(self.layers, self.split(fields), parts, strict=True)
        for layer, field, mean in list(hidden)[1:]:
            total = total + (field * mean).sum(-1) - layer.log_partition(field, temperature)
        return total

    def log_likelihood_bound(
        self,
        visible: Float[Tensor, "*batch d"],
        log_partition: float | Float[Tensor, ""],
        *,
        steps: int = 100,
        tolerance: float = 1e-4,
    ) -> Float[Tensor, "*batch"]:
        """Computes −G(v)/T − log Z ≤ log p(v), in nats; exact with one hidden layer.

        Args:
            visible: Visible states.
            log_partition: log Z at the machine's temperature, exact or estimated; where it is
                estimated the bound is as good as the estimate.
            steps: See :meth:`mean_field`.
            tolerance: See :meth:`mean_field`.

        Raises:
            IsinglassError: As :meth:`mean_field`.

        Examples:
            >>> import isinglass as ig
            >>> layers = [ig.Bernoulli(3), ig.Bernoulli(2), ig.Bernoulli(2)]
            >>> machine = DeepBoltzmann(layers, scale=0.5).double()
            >>> v = ig.Bernoulli(3).enumerate_states()
            >>> log_z = torch.logsumexp(-machine.free_energy(v).detach(), 0)
            >>> bool(machine.log_likelihood_bound(v, log_z).exp().sum() <= 1)
            True
        """
        found = self.mean_field(visible, steps=steps, tolerance=tolerance)
        return -found.free_energy / self.temperature - log_partition

    def free_energy(
        self, visible: Float[Tensor, "*batch d"], temperature: float | None = None
    ) -> Float[Tensor, "*batch"]:
        """Computes F_T(v), exactly: layers of one color summed out, the others enumerated.

        Args:
            visible: Visible states, ``(*batch, d)``.
            temperature: T > 0; None is the machine's own.

        Raises:
            ShapeError: If the visible states have the wrong number of features.
            DomainError: If they are not states of the visible units.
            ParameterError: If ``temperature`` is not above zero.
            IntractableError: If what is to be enumerated has too many states; :meth:`mean_field`
                gives a bound.
        """
        temperature = self._check("free_energy", visible, temperature)
        summed = max(self._colors, key=lambda layers: sum(self.layers[i].size for i in layers))
        kept = [index for index in range(1, len(self.layers)) if index not in summed]
        rows = visible.reshape(-1, visible.shape[-1])
        states = self._enumerate(kept, temperature).to(rows)
        block = max(1, MOST_VALUES // (states.shape[0] * states.shape[1]))
        found = []
        for some in rows.split(block):
            joint = states.expand(len(some), *states.shape).clone()
            joint[..., : rows.shape[-1]] = some.unsqueeze(-2)
            energies = self._sum_out(joint, summed, temperature)
            found.append(-temperature * torch.logsumexp(-energies / temperature, -1))
        return torch.cat(found).reshape(visible.shape[:-1])

    def _enumerate(self, kept: list[int], temperature: float) -> Tensor:
        """Every state of the layers that are kept, in joint states that are zero elsewhere."""
        if not kept:
            return torch.zeros(1, sum(layer.size for layer in self.layers))
        together = Mixed([self.layers[index] for index in kept])
        if together.state_count(temperature) > MOST_STATES:
            raise IntractableError(
                f"{together.state_count(temperature):.3g} states of layers {kept} for every row",
                f"At most {MOST_STATES} are enumerated: take the bound, mean_field(v).free_energy",
            )
        states = together.enumerate_states(temperature)
        values = dict(zip(kept, states.split([self.layers[i].size for i in kept], -1), strict=True))
        zeros = [states.new_zeros(len(states), layer.size) for layer in self.layers]
        return torch.cat([values.get(index, zero) for index, zero in enumerate(zeros)], -1)

    def _sum_out(self, state: Tensor, summed: Sequence[int], temperature: float) -> Tensor:
        """E of the other layers, with these, no two of which touch, summed out."""
        parts = list(self.split(state))
        total = torch.zeros_like(state[..., 0])
        for index in summed:
            field = self._field(parts, index)
            total = total - self.layers[index].log_partition(field, temperature)
        for index, layer in enumerate(self.layers):
            if index in summed:
                parts[index] = torch.zeros_like(parts[index])
            else:
                total = total + layer.base_measure_energy(parts[index], temperature)
        return total - self._agreement(parts)

    def positive_phase(self, visible: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes G(v) at the means that inference found, from above F(v).

        The gradient is that of ⟨E(v, h)⟩ at these means, as though they did not depend on the
        parameters: at a minimum of G in the means it is the gradient of the bound itself.

        Raises:
            IsinglassError: As :meth:`mean_field`.
        """
        found = self.mean_field(visible)
        return self._variational(found.state, found.fields, self.temperature)

    def negative_phase(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Computes E of joint states, with the hidden layers that a sweep draws first summed out.

        Its gradient has the mean of that of E and varies less; with one hidden layer it is F(v).
        """
        return self._sum_out(state, self._colors[1], self.temperature)

    def _check(self, method: str, visible: Tensor, temperature: float | None) -> float:
        self.visible.check(visible)
        check_like(visible, self.biases[0])
        temperature = self.temperature if temperature is None else temperature
        return check_positive("temperature", temperature)
