"""The residuals of LanguageQ descended by the natural gradient, of small networks of torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from isinglass.language import Rollouts
from isinglass.language.learner import Learner
from isinglass.language.report import evaluation
from isinglass.language.residuals import score

__all__ = ["NaturalGradient"]

DAMPING = 0.3  # of the mean of the diagonal of the kernel
MOMENTUM = 0.8
AT_A_TIME = 64  # sequences
LAST = 0.1  # of the change of the first step, at the last


class NaturalGradient(Learner):
    r"""Gauss-Newton steps on what was just drawn and as much of the replay, solved by sequences.

    With J the gradients of log π of each sequence, less their mean, and ρ what log π lacks,

        d = Jᵀ(JJᵀ + λ)⁻¹(ρ − μ J d') + μ d',   ρ = R/T − log π/π_ref − mean,

    d' the step before, shortened where log π of a sequence would change by more than ``change``
    nats. J is of the weights of linear layers, the last one left out, and lies in memory whole.

    Reference: Chen & Heyl 2023, arXiv:2302.01941; Goldshlager, Abrahamsen & Lin 2024,
    arXiv:2401.10190.
    """

    before: Tensor | None = None

    def step(self, base_rate: float | None) -> dict[str, float]:
        """Draws a batch and makes one step."""
        options, temperature = self.options, self.judge.temperature
        fall = 1 - (1 - LAST) * min(1.0, len(self.history) / max(1, self.steps))
        fresh, ratio = self.draw(self.judge.model)
        self.replay.add(fresh)
        kept = self.replay.draw(options.replay_batch, self.generator)
        rollouts = Rollouts.join([fresh, kept])
        modules = linear_layers(self.judge.model)
        log_p, slopes = slopes_of(self.judge.model, modules, rollouts)
        lacks = rollouts.rewards / temperature - (log_p - rollouts.scores.log_p.sum(1))
        slopes -= slopes.mean(0)
        step = self._solve(slopes, lacks - lacks.mean())
        self.moved = float((slopes[: len(fresh)] @ step).square().mean().sqrt())
        step *= min(1.0, options.change * fall / max(self.moved, 1e-12))
        self.before = step
        self._move(modules, step)
        found = evaluation(fresh.rewards, ratio, temperature, base_rate)
        row = {"step": len(self.history) + 1.0, "rollouts": float(self.rollouts),
               "reward": found.reward, "kl": found.kl}  # fmt: skip
        self.history.append(row)
        return row

    def _solve(self, slopes: Tensor, lacks: Tensor) -> Tensor:
        """d of the sequences."""
        kernel = slopes @ slopes.mT
        kernel.diagonal().add_(DAMPING * kernel.diagonal().mean())
        if self.before is None:
            return slopes.mT @ torch.linalg.solve(kernel, lacks)
        kept = MOMENTUM * self.before
        return slopes.mT @ torch.linalg.solve(kernel, lacks - slopes @ kept) + kept

    @torch.no_grad()
    def _move(self, modules: list[nn.Linear], step: Tensor) -> None:
        """Adds a step to the weights, and them to their average."""
        sizes = [module.weight.numel() for module in modules]
        for module, part in zip(modules, step.split(sizes), strict=True):
            module.weight += part.view_as(module.weight)
        decay = min(self.options.average, (1 + self.moves) / (10 + self.moves))
        for kept, parameter in zip(self.average, self.parameters, strict=True):
            kept.lerp_(parameter, 1 - decay)
        self.moves += 1


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """Return the linear layers of a model but for the last, which gives the logits."""
    return [module for module in model.modules() if isinstance(module, nn.Linear)][:-1]


def slopes_of(model: Any, modules: list[nn.Linear], rollouts: Rollouts) -> tuple[Tensor, Tensor]:
    """Return log π of each sequence and its gradient by the weights, ``(rows, weights)``.

    A weight's gradient is the sum over places of what a layer was given times what its output
    asks for: one pass back for all sequences.
    """
    log_p, slopes = [], []
    for start in range(0, len(rollouts), AT_A_TIME):
        some = torch.arange(start, min(start + AT_A_TIME, len(rollouts)))
        given: dict[nn.Module, Tensor] = {}
        outputs: dict[nn.Module, Tensor] = {}

        def keep(
            module: nn.Module, inputs: Any, output: Tensor,
            given: dict[nn.Module, Tensor] = given, outputs: dict[nn.Module, Tensor] = outputs,
        ) -> None:  # fmt: skip
            given[module], outputs[module] = inputs[0].detach(), output

        hooks = [module.register_forward_hook(keep) for module in modules]
        try:
            found = score(model, rollouts.rows(some).sequences).log_p.sum(1)
        finally:
            for hook in hooks:
                hook.remove()
        asked = torch.autograd.grad(found.sum(), [outputs[module] for module in modules])
        parts = [
            torch.bmm(slope.mT, given[module]).flatten(1)
            for module, slope in zip(modules, asked, strict=True)
        ]
        slopes.append(torch.cat(parts, 1))
        log_p.append(found.detach())
    return torch.cat(log_p), torch.cat(slopes)
