"""The classical Hopfield network of spins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import (
    check_count,
    check_features,
    check_generator,
    check_operand,
    check_patterns,
    check_weight,
    is_hollow,
    is_symmetric,
)
from isinglass.core.capabilities import ConcaveConvex
from isinglass.dynamics import Asynchronous, Kernel
from isinglass.energies.hopfield.base import Memory
from isinglass.energies.hopfield.storage_rules import Hebb, Rule
from isinglass.errors import DomainError, ParameterError
from isinglass.retrieval.scores import overlaps
from isinglass.units import Spin

__all__ = ["ClassicalHopfield"]


class ClassicalHopfield(ConcaveConvex, Memory):
    """The classical network of spins: E(v) = −½ vᵀWv, W_ii = 0, by default Hebb's W = Σ_μ x_μ x_μᵀ.

    On spins −½ Σ_μ (x_μ·v)² differs from Hebb's by the constant Nd/2, which the diagonal would
    add. It recalls by sweeps of one unit after another (:class:`~isinglass.dynamics.Asynchronous`;
    :class:`~isinglass.dynamics.SingleSite` is the same flip by flip), by parallel steps
    (:class:`~isinglass.dynamics.Synchronous`, which may fall into 2-cycles), or by concave–convex
    steps with a diagonal added, which never raise E.

    Reference: Hopfield 1982, doi:10.1073/pnas.79.8.2554.

    Args:
        patterns: ``(N, d)`` of ±1, one pattern a row; spins cannot be learned by gradient.
        rule: How patterns become couplings: :class:`~isinglass.energies.Hebb`, ``Storkey``,
            ``PseudoInverse``, ``Perceptron``, or a :class:`~isinglass.energies.Rule` of your own.

    Attributes:
        weight: W, ``(d, d)``, saved with the memory.
        dreams: How many states were unlearned by :meth:`dream`.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not −1 or +1.
        ParameterError: If ``rule`` is not a rule, or its couplings are no symmetric finite
            ``(d, d)`` with a zero diagonal.

    Examples:
        >>> patterns = torch.tensor([[1.0, 1, 1, 1, -1, -1], [1.0, -1, 1, -1, 1, -1]])
        >>> memory = ClassicalHopfield(patterns)
        >>> cue = torch.tensor([1.0, 1, 1, -1, -1, -1])  # the first pattern, one unit wrong
        >>> memory.recall(cue).state
        tensor([ 1.,  1.,  1.,  1., -1., -1.])
    """

    weight: Tensor
    dreams: int
    #: The tensors that the diagonal was found for, their versions, and the diagonal.
    _diagonal: tuple[tuple[Tensor, ...], tuple[int, ...], float] | None = None
    default_kernel: ClassVar[type[Kernel]] = Asynchronous
    adopts: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"rule": Rule.from_config}

    def __init__(self, patterns: Tensor, rule: Rule = Hebb()) -> None:  # noqa: B008 - it is frozen
        super().__init__(patterns.detach() if isinstance(patterns, Tensor) else patterns, Spin)
        if not isinstance(rule, Rule):
            raise ParameterError(f"rule = {rule!r}", "Give a rule object, such as Hebb()")
        self.rule = rule
        if is_hollow(self.patterns):
            raise DomainError("patterns without values, on meta", "Give patterns with values")
        weight = rule.couplings(self.patterns)
        _check_couplings(rule, weight, self.patterns)
        self.register_buffer("weight", weight)
        self.dreams = 0

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes E(v) = −½ vᵀWv."""
        check_features(state, self.unit.size)
        check_operand(state, self.weight)
        return -(state * overlaps(state, self.weight)).sum(-1) / 2

    def grad(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Computes ∂E/∂v = −Wv in closed form."""
        return -self.local_field(state)

    def local_field(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Returns wv, the field on every spin."""
        return state @ self.weight

    def moved_field(
        self,
        field: Float[Tensor, "batch d"],
        state: Float[Tensor, "batch d"],
        site: Int[Tensor, " batch"],
        change: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch d"]:
        """Adds a row of W: the field after spin ``site`` of each row changed by ``change``."""
        return torch.addcmul(field, change.unsqueeze(-1), self.weight[site])

    def cccp_update(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Takes one step v ← sign(Wv + sv), s so large that W + s·1 is positive and E cannot rise.

        With Hebb's rule s = N: the diagonal that was left out.
        """
        return self.unit.argmax_state(self.local_field(state) + self._shift * state, state)

    def store(self, patterns: Float[Tensor, "patterns d"]) -> None:
        """Stores more patterns, by the memory's rule.

        The couplings are those of all patterns stored at once: to the bit with Hebb's rule and the
        pseudo-inverse, to rounding with Storkey's. The perceptron goes on from what it has.

        Args:
            patterns: ``(N, d)`` of ±1, one pattern a row.

        Raises:
            ShapeError: If there is no pattern, or one has the wrong number of units.
            DomainError: If a value is not −1 or +1, or dtype or device differ from the memory's.

        Examples:
            >>> one, two = torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]]).split(1)
            >>> memory = ClassicalHopfield(one)
            >>> memory.store(two)
            >>> bool((memory.weight == ClassicalHopfield(torch.cat([one, two])).weight).all())
            True
        """
        check_patterns(patterns)
        self.check_state(patterns)
        patterns = patterns.detach()
        weight = self.rule.store(self.weight, self.patterns, patterns)
        _check_couplings(self.rule, weight, patterns)
        self._hold(weight, torch.cat([self.patterns, patterns]), self.dreams)

    def unlearn(self, patterns: Float[Tensor, "patterns d"]) -> None:
        """Takes stored patterns out again; of one stored twice, one copy, the last.

        Hebb's rule subtracts them, exactly; the others are applied anew to what is left.

        Args:
            patterns: ``(N, d)`` of ±1, each of them stored.

        Raises:
            ShapeError: If there is no pattern, or one has the wrong number of units.
            DomainError: If one is not stored, or not as often as it is to be taken out.

        Examples:
            >>> memory = ClassicalHopfield(torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]]))
            >>> memory.unlearn(torch.tensor([[1.0, 1.0, -1.0]]))
            >>> memory.patterns
            tensor([[ 1., -1., -1.]])
        """
        check_patterns(patterns)
        self.check_state(patterns)
        kept = self.patterns[_left_after(self.patterns, patterns)]
        weight = self.rule.unlearn(self.weight, patterns, kept)
        _check_couplings(self.rule, weight, patterns)
        self._hold(weight, kept, self.dreams)

    @torch.no_grad()
    def dream(
        self, steps: int, rate: float = 0.01, generator: Generator | None = None
    ) -> Float[Tensor, "steps d"]:
        """Unlearns what the net falls into by itself: ΔW = −rate · s sᵀ, s relaxed from noise.

        A little of it evens out how easily patterns are found and takes away mixtures of them;
        too much of it takes away the patterns.

        Reference: Hopfield, Feinstein & Palmer 1983, doi:10.1038/304158a0.

        Args:
            steps: How many states to unlearn, one after another.
            rate: ε, where storing a pattern by Hebb's rule counts 1.
            generator: Source of the random states; None is torch's global one.

        Returns:
            The states unlearned, ``(steps, d)``.

        Raises:
            ParameterError: If ``steps`` is no whole number above zero or ``rate`` is negative.

        Examples:
            >>> memory = ClassicalHopfield(torch.tensor([[1.0, 1.0, -1.0, -1.0]]))
            >>> memory.dream(3, generator=torch.Generator().manual_seed(0)).shape
            torch.Size([3, 4])
        """
        check_count("steps", steps)
        rate = check_weight("rate", rate)
        check_generator(generator)
        found, weight = self.patterns.new_empty(steps, self.unit.size), self.weight.clone()
        awake = self.weight
        try:
            self.weight = weight  # unlearned in place: half a night leaves the memory as it was
            for step in range(steps):
                noise = torch.rand(self.unit.size, device=weight.device, generator=generator)
                state = self.recall(torch.where(noise < 0.5, -1.0, 1.0).to(weight.dtype)).state
                weight.addr_(state, state, alpha=-rate).fill_diagonal_(0.0)
                found[step] = state
        finally:
            self.weight = awake
        self._hold(weight, self.patterns, self.dreams + steps)
        return found

    def stability(self) -> Float[Tensor, "patterns d"]:
        """Computes how firmly each unit of each stored pattern is held, x_μi (W x_μ)_i / |W_i|.

        Patterns are fixed points where all are above zero; the larger the least of them, the wider
        is the basin around a pattern.

        Reference: Krauth, Nadal & Mézard 1988, doi:10.1088/0305-4470/21/12/022.

        Examples:
            >>> ClassicalHopfield(torch.tensor([[1.0, 1.0, -1.0]])).stability()
            tensor([[1.4142, 1.4142, 1.4142]])
        """
        lengths = self.weight.norm(dim=-1).clamp_min(torch.finfo(self.weight.dtype).tiny)
        return self.patterns * self.local_field(self.patterns) / lengths

    @property
    def _shift(self) -> float:
        """What added to the diagonal of W leaves no negative eigenvalue; found once for each W."""
        tensors = (self.weight, self.patterns)
        tracked = not any(tensor.is_inference() for tensor in tensors)  # those have no version
        versions = tuple(tensor._version for tensor in tensors) if tracked else None
        if versions and self._diagonal is not None:
            known, at, shift = self._diagonal
            if at == versions and all(a is b for a, b in zip(known, tensors, strict=True)):
                return shift
        rule = Rule if self.dreams else type(self.rule)  # after dreams W is no longer the rule's
        shift = rule.shift(self.rule, *tensors)
        self._diagonal = (tensors, versions, shift) if versions else None
        return shift

    def _hold(self, weight: Tensor, patterns: Tensor, dreams: int) -> None:
        self.weight, self.patterns, self.dreams = weight, patterns, dreams
        self._diagonal = None

    def get_extra_state(self) -> Tensor:
        """Returns what the state dict holds beside the tensors: the number of dreams."""
        return torch.tensor(self.dreams)

    def set_extra_state(self, state: Tensor) -> None:
        """Restores the number of dreams, called last when a state dict is loaded."""
        self._hold(self.weight, self.patterns, int(state))

    def config(self) -> dict[str, Any]:
        """Returns the shape of the patterns and the rule."""
        return super().config() | {"rule": self.rule.config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ClassicalHopfield:
        """Returns a memory of the same shape and rule, with nothing stored."""
        count, size = config["patterns"]
        memory = cls(torch.ones(1, size))
        memory.rule = Rule.from_config(config["rule"])
        memory.patterns = torch.ones(count, size)
        return memory


def _check_couplings(rule: Rule, weight: Tensor, patterns: Tensor) -> None:
    """Refuse couplings of a rule on which recall would not descend an energy."""
    size = patterns.shape[-1]
    if weight.shape != (size, size):
        wrong = f"couplings of shape {tuple(weight.shape)} for {size} units"
    elif not bool(weight.isfinite().all()):
        wrong = "couplings that are not finite"
    elif bool(weight.diagonal().any()):
        wrong = "couplings of units to themselves"
    elif is_symmetric(weight):
        return
    else:
        wrong = "couplings that are not symmetric"
    raise ParameterError(
        f"{wrong}, of {rule}",
        "Let the rule give a finite symmetric (d, d) tensor with a zero diagonal",
    )


def _left_after(stored: Tensor, gone: Tensor) -> Bool[Tensor, " stored"]:
    """Which stored rows are left when one copy of each row of ``gone``, the last, is taken out."""
    _, label = torch.unique(torch.cat([stored, gone]), dim=0, return_inverse=True)
    held, wanted = (
        part.bincount(minlength=len(label)) for part in label.tensor_split([len(stored)])
    )
    if lacking := int((wanted > held)[label[len(stored) :]].sum()):
        raise DomainError(
            f"{lacking} of {len(gone)} patterns are not stored, or not as often",
            "Give rows of memory.patterns",
        )
    order = label[: len(stored)].flip(0).argsort(stable=True)  # copies together, the last first
    ordered = label[: len(stored)].flip(0)[order]
    copy = torch.arange(len(stored), device=stored.device) - (held.cumsum(0) - held)[ordered]
    left = torch.empty(len(stored), dtype=torch.bool, device=stored.device)
    left[order] = copy >= wanted[ordered]
    return left.flip(0)
