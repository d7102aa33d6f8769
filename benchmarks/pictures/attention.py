"""Look-ups of a head that become its softmax; an energy Transformer that completes digits."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from isinglass._support.palette import BLUE, GRAY
from isinglass.data.digits import load_digits
from isinglass.nn import EnergyTransformerBlock, stochastic_attention

DRAWS = (1, 4, 16, 64)


def draw() -> dict[str, Figure]:
    """All pictures of this topic."""
    return {"stochastic-attention": look_ups(), "energy-transformer": completion()}


def look_ups() -> Figure:
    """The shares n/m of one query for several m, and the error of many beside √(Var/m)."""
    generator = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(64, 24, 16, generator=generator).double() for _ in range(3))
    keys = torch.eye(24).double().expand(64, 24, 24)
    figure = plt.figure(figsize=(7.4, 2.5))
    axes = figure.subplots(1, 6, width_ratios=[1, 1, 1, 1, 1, 2.6])
    for axis, draws in zip(axes, (*DRAWS, None), strict=False):
        shares = stochastic_attention(q, k, keys, draws, generator=generator)[0, 0]
        axis.barh(range(24), shares, color=BLUE if draws else GRAY)
        axis.set(title="softmax" if draws is None else f"m = {draws}", xticks=[], yticks=[])
        axis.invert_yaxis()
    axes[0].set_ylabel("24 keys")
    exact = stochastic_attention(q, k, v)
    p = torch.softmax(q @ k.mT / 4, -1)
    variance = (p @ v.square() - exact.square()).mean()
    many = [2**power for power in range(11)]
    errors = [
        (stochastic_attention(q, k, v, m, generator=generator) - exact).square().mean().sqrt()
        for m in many
    ]
    axes[-1].loglog(many, [(variance / m).sqrt() for m in many], "--", color=GRAY, label="√(Var/m)")
    axes[-1].loglog(many, errors, "o", color=BLUE, markersize=4, label="measured")
    axes[-1].set(xlabel="draws m", title="error of the output")
    axes[-1].legend(frameon=False)
    return figure


class Completer(nn.Module):
    """Digits in 16 patches of 2 × 2 pixels; hidden ones start from one learned token."""

    def __init__(self, dim: int = 64) -> None:
        super().__init__()
        self.embed = nn.Linear(4, dim)
        self.hidden = nn.Parameter(torch.zeros(dim))
        self.place = nn.Parameter(torch.randn(16, dim))
        self.block = EnergyTransformerBlock(dim, 8, 16, 256, steps=5, step_size=1.0)
        self.read = nn.Linear(dim, 4)

    def start(self, patches: Tensor, hide: Tensor) -> Tensor:
        """The tokens before the first step."""
        seen = torch.where(hide.unsqueeze(-1), self.hidden, self.embed(patches))
        return seen + self.place

    def forward(self, patches: Tensor, hide: Tensor) -> Tensor:
        """All patches, from those that are not hidden."""
        return self.read(self.block.norm(self.block(self.start(patches, hide))))


def completion() -> Figure:
    """Test digits of which half the patches are hidden: what each step makes of them."""
    generator = torch.Generator().manual_seed(0)
    train, _, test = (as_patches(part.images.float() / 16) for part in load_digits(0))
    model = Completer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=1200)
    for _ in range(1200):
        rows = train[torch.randint(len(train), (64,), generator=generator)]
        hide = torch.rand(64, 16, generator=generator) < 0.5
        loss = (model(rows, hide) - rows)[hide].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    hide = torch.rand(len(test), 16, generator=generator) < 0.5
    return steps_of(model, test, hide, train.mean(0))


@torch.no_grad()
def steps_of(model: Completer, test: Tensor, hide: Tensor, mean: Tensor) -> Figure:
    """Six digits along the descent, and the energies of a hundred."""
    shown = (0, 1, 2, 3, 5)
    start = model.start(test, hide)
    stages = [
        model.read(model.block.norm(model.block.descend(start, steps=steps).tokens))
        for steps in shown
    ]
    error = (stages[-1] - test)[hide].square().mean().sqrt()
    error_of_mean = (mean - test)[hide].square().mean().sqrt()
    figure = plt.figure(figsize=(7.4, 3.6))
    images, curve = figure.subfigures(1, 2, width_ratios=[1.9, 1])
    names = ["shown", *(f"step {steps}" for steps in shown), "digit"]
    grid = images.subplots(6, len(names))
    for row in range(6):
        known = test[row].masked_fill(hide[row].unsqueeze(-1), torch.nan)
        made = [test[row].where(~hide[row].unsqueeze(-1), stage[row]) for stage in stages]
        for column, (name, patches) in enumerate(
            zip(names, [known, *made, test[row]], strict=True)
        ):
            axis = grid[row, column]
            axis.imshow(as_image(patches), cmap="gray_r", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[], facecolor="#d6ebf7")
            axis.spines[:].set_visible(False)
            axis.set_title(name if row == 0 else "", fontsize=8)
    axis = curve.subplots()
    energies = model.block.descend(start[:100], steps=12).energies
    axis.plot(energies, color=BLUE, linewidth=0.5, alpha=0.4, rasterized=True)
    axis.plot(energies.mean(-1), color="black", linewidth=1.5)
    axis.axvline(5, color=GRAY, linestyle="--", linewidth=0.8)
    axis.set(xlabel="step", title="energy of 100 test digits")
    curve.supxlabel(
        f"error {error:.3f} of hidden pixels,\n{error_of_mean:.3f} by the mean image", fontsize=8
    )
    return figure


def as_patches(images: Tensor) -> Tensor:
    """``(n, 64)`` to ``(n, 16, 4)``."""
    return images.reshape(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 16, 4)


def as_image(patches: Tensor) -> Tensor:
    """``(16, 4)`` to ``(8, 8)``."""
    return patches.reshape(4, 4, 2, 2).transpose(1, 2).reshape(8, 8)
