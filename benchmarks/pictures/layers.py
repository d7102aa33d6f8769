"""The Hopfield layers at work: energies of heads, pooling, look-up, metastable sizes."""

from __future__ import annotations

import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from isinglass._support.palette import BLUE
from isinglass.nn import Hopfield, HopfieldEncoderLayer, HopfieldLayer, HopfieldPooling

BEFORE, AFTER = "0.7", BLUE


def draw() -> dict[str, Figure]:
    """All pictures of this topic."""
    return {
        "layers-updates": updates(),
        "layers-pooling": pooling(),
        "layers-look-up": look_up(),
        "layers-heads": heads(),
    }


@torch.no_grad()
def updates() -> Figure:
    """Two heads that differ in β, on noisy copies of stored patterns."""
    generator = torch.Generator().manual_seed(0)
    stored = nn.functional.normalize(torch.randn(8, 12, generator=generator), dim=-1)
    states = stored + 0.5 * torch.randn(8, 12, generator=generator)
    betas = torch.tensor([3.0, 10.0])
    inputs = (stored, states, stored)
    figure, axes = plt.subplots(
        1, 4, figsize=(9, 2.5), gridspec_kw={"width_ratios": [1.2, 1.2, 1, 1]}
    )
    layer = Hopfield.static(num_heads=2, scaling=betas)
    steps = range(7)
    energies = torch.stack([layer.energy(inputs, updates=step) for step in steps])
    for head, axis in enumerate(axes[:2]):
        axis.plot(steps, energies[:, head], color=AFTER, linewidth=0.9)
        axis.set(title=f"energy, β = {betas[head]:g}", xlabel="updates")
    for axis, count in zip(axes[2:], (1, 6), strict=True):
        layer = Hopfield.static(num_heads=2, scaling=betas, update_steps_max=count)
        axis.imshow(layer.association(inputs)[1], cmap="Blues", vmin=0, vmax=1)
        axis.set(title=f"β = 10, update {count}", xlabel="stored pattern", ylabel="state")
        axis.set(xticks=[], yticks=[])
    return figure


def pooling() -> Figure:
    """Bags of thirty rows, of which one decides, before and after training."""
    generator = torch.Generator().manual_seed(0)

    def bags(count: int) -> tuple[Tensor, Tensor]:
        rows, label = torch.randn(count, 30, 16, generator=generator), torch.arange(count) % 2 == 0
        rows[label, 0] = 3 * torch.eye(16)[0] + 0.3 * rows[label, 0]
        return rows, label

    pool = HopfieldPooling(16, hidden_size=16, scaling=1.0)
    model = nn.Sequential(pool, nn.Linear(16, 1))
    shown, label = bags(400)

    def look() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            sizes = pool.metastable_size(shown)[label, 0, 0]
            return sizes, pool.association(shown)[label, 0, 0, 0]

    before = look()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        rows, wanted = bags(64)
        optimizer.zero_grad()
        logits = model(rows)[:, 0]
        nn.functional.binary_cross_entropy_with_logits(logits, wanted.float()).backward()
        optimizer.step()
    after = look()
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.4))
    histogram(axes[0], before[0], after[0], torch.arange(32) - 0.5)
    axes[0].set(title="positive bags", xlabel="rows that hold 90 % of the weight", ylabel="bags")
    histogram(axes[1], before[1], after[1], torch.linspace(0, 1, 31))
    axes[1].set(title="positive bags", xlabel="weight of the row that decides")
    axes[1].legend(frameon=False)
    return figure


def histogram(axis: Axes, before: Tensor, after: Tensor, edges: Tensor) -> None:
    """Two in one: gray before training, blue after."""
    for values, color, label in (
        (before, BEFORE, "before training"),
        (after, AFTER, "after training"),
    ):
        axis.hist(values, bins=edges.tolist(), color=color, label=label, alpha=0.8)
    axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def look_up() -> Figure:
    """A curve over the circle, from ten learned patterns and what each of them says."""
    generator = torch.Generator().manual_seed(0)
    angle = 2 * torch.pi * torch.rand(250, generator=generator)
    noise = 0.15 * torch.randn(250, generator=generator)
    wanted = (2 * angle).sin() + 0.5 * angle.cos() + noise

    def on_circle(angle: Tensor) -> Tensor:
        return torch.stack([angle.cos(), angle.sin()], -1)

    layer = HopfieldLayer.static(
        2, quantity=10, scaling=8.0, lookup_weights_as_separated=True, pattern_projection_size=1
    )
    with torch.no_grad():
        layer.lookup_weights.copy_(on_circle(torch.arange(10) * 2 * torch.pi / 10))
    line = torch.linspace(0, 2 * torch.pi, 400)
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.5), sharey=True)
    optimizer = torch.optim.Adam(layer.parameters(), lr=2e-2)
    for axis, steps, title in zip(
        axes, (0, 300), ("before training", "after training"), strict=True
    ):
        for _ in range(steps):
            optimizer.zero_grad()
            (layer(on_circle(angle))[:, 0] - wanted).square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            x, y = layer.lookup_weights.T
            place = torch.atan2(y, x) % (2 * torch.pi)
            axis.scatter(angle, wanted, color=BEFORE, s=6, linewidths=0)
            axis.plot(line, layer(on_circle(line)), color=AFTER)
            axis.plot(place, layer.target_weights[:, 0], "kx", markeredgewidth=1.5)
        axis.set(title=title, xlabel="angle", xticks=[0, torch.pi, 2 * torch.pi])
        axis.set_xticklabels(["0", "π", "2π"])
    return figure


def heads() -> Figure:
    """An encoder layer that learns to find each token's twin and read it."""
    generator = torch.Generator().manual_seed(0)

    def sequences(count: int) -> tuple[Tensor, Tensor]:
        """Eight keys, each twice; a token carries a bit, and wants the bit of its twin."""
        keys = nn.functional.normalize(torch.randn(count, 8, 16, generator=generator), dim=-1)
        bits = torch.randint(2, (count, 2, 8), generator=generator)
        place = torch.zeros(2, 8, 15)
        place[0, :, 0], place[1, :, 1] = 1.0, 1.0
        tokens = torch.cat(
            [
                3 * keys[:, None].expand(-1, 2, -1, -1),
                2.0 * bits[..., None] - 1,
                place.expand(count, -1, -1, -1),
            ],
            dim=-1,
        )
        return tokens.flatten(1, 2), bits.flip(1).flatten(1)

    encoder = HopfieldEncoderLayer(Hopfield(32, num_heads=2, scaling=1.0), 64, dropout=0.0)
    model = nn.Sequential(encoder, nn.Linear(32, 1))
    shown, _ = sequences(200)
    before = encoder.metastable_size(shown)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(600):
        tokens, wanted = sequences(64)
        optimizer.zero_grad()
        logits = model(tokens)[..., 0]
        nn.functional.binary_cross_entropy_with_logits(logits, wanted.float()).backward()
        optimizer.step()
    after = encoder.metastable_size(shown)
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.4), sharey=True)
    for head, axis in enumerate(axes):
        edges = torch.arange(18) - 0.5
        histogram(axis, before[:, head].flatten(), after[:, head].flatten(), edges)
        axis.set(title=f"head {head + 1}", xlabel="tokens that hold 90 % of the weight")
    axes[0].set(ylabel="tokens")
    axes[1].legend(frameon=False)
    return figure
