"""A small language model three ways: softmax, m draws from the start, blocks of one energy.

Characters of Shakespeare, the same steps, batches, learning rate and number of weights for all. The
energy block is ``isinglass.nn.EnergyTransformerBlock(causal=True)`` by its defaults, but for the
numbers of steps and of memories: every token C has an energy of its own in which the tokens before
it stand still,

    E_C = − β⁻¹ Σ_h log Σ_{B < C} exp(β K_hB·Q_hC) − ½ Σ_μ max(ξ_μ·g_C, 0)²
    x_C ← x_C − α ∂E_C/∂g_C

Two rows between tell where a gap comes from: softmax attention whose values are its keys and whose
output is its queries' (``tied attention``), and a two-layer network whose second weights are its
first's (``tied memory``). Losses are nats a character on the last tenth of the text.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.evidence.cache import Cache
from benchmarks.evidence.texts import read_text
from isinglass.nn import EnergyTransformerBlock, StochasticAttention, TokenEnergy

CONTEXT, DIM, HEADS, LAYERS, BATCH, RATE = 64, 64, 4, 2, 32, 3e-3
EVERY = 10
#: What is trained, in the order of the table.
KINDS = ("softmax", "m = 16", "m = 4", "m = 1", "energy", "energy, 4 steps", "tied attention",
         "tied memory")  # fmt: skip
EVALUATED = (1, 4, 16, 64, None)


def main() -> None:
    """Parse the command line, train what is not known yet, print one table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.energy_transformer", description=__doc__
    )
    parser.add_argument(
        "kinds", nargs="*", default=list(KINDS), help="what is trained; all if none"
    )
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="where results go")
    parser.add_argument("--steps", type=int, default=100, help="training steps")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="20 steps of one seed")
    given = parser.parse_args()
    steps, seeds = (20, 1) if given.quick else (given.steps, given.seeds)
    cache = Cache(given.out / f"energy_transformer-{steps}.json")
    text = read_text("Shakespeare")
    symbols = sorted(set(text))
    codes = torch.tensor([symbols.index(character) for character in text])
    with Progress() as progress:
        for seed in range(seeds):
            for kind in given.kinds:
                cache.get(
                    f"{kind}/{seed}",
                    lambda k=kind, s=seed: train(k, s, codes, len(symbols), steps, progress),
                )
    Console().print(as_table(cache.found))


class Attention(nn.Module):
    """Causal attention of m draws, before it a normalization."""

    def __init__(self, draws: int | None, generator: torch.Generator) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(DIM)
        self.attention = StochasticAttention(
            DIM, HEADS, batch_first=True, draws=draws, generator=generator, bias=False
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens after attention."""
        inside = self.norm(tokens)
        hidden = torch.ones(inside.shape[1], inside.shape[1], dtype=torch.bool).triu(1)
        found, _ = self.attention(inside, inside, inside, attn_mask=hidden, need_weights=False)
        return tokens + found


class TiedAttention(nn.Module):
    """One step on the attention part of the energy, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(DIM)
        self.energy = token_energy(1)
        self.energy.patterns.requires_grad_(False)
        # As many weights as attention with values and an output of their own: twice the heads.
        self.more = token_energy(1)
        self.more.patterns.requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens after attention."""
        inside = self.norm(tokens)
        return tokens + sum(causal_attention(one, inside) for one in (self.energy, self.more))


class Network(nn.Module):
    """The two-layer network of a Transformer, of ReLU units as the energy's; or tied."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.norm, self.tied = nn.LayerNorm(DIM), tied
        width = 8 * DIM if tied else 4 * DIM
        self.first = nn.Parameter(torch.randn(width, DIM) / DIM**0.5)
        if not tied:
            self.second = nn.Parameter(torch.randn(width, DIM) / width**0.5)
        else:
            self.scale = nn.Parameter(torch.tensor((DIM / width) ** 0.5))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens after the network."""
        inside = F.relu(self.norm(tokens) @ self.first.mT)
        return tokens + (inside @ self.first * self.scale if self.tied else inside @ self.second)


def token_energy(memories: int) -> TokenEnergy:
    """Make the library's energy, where a token may look at itself."""
    return TokenEnergy(DIM, HEADS, DIM // HEADS, memories, exclude_self=False)


def causal_attention(energy: TokenEnergy, tokens: Tensor) -> Tensor:
    """Return minus the slope of each token's attention energy where the keys stand still."""
    key, query = (torch.einsum("hyd,bld->bhly", weight, tokens)
                  for weight in (energy.key, energy.query))  # fmt: skip
    later = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).triu(1)
    scores = (energy.beta * query @ key.mT).masked_fill(later, -torch.inf)
    return torch.einsum("bhly,hyd->bld", torch.softmax(scores, -1) @ key, energy.query)


def energy_block(steps: int) -> EnergyTransformerBlock:
    """Make a block of as many weights as a Transformer's."""
    # 2 D² of keys and queries and 10 D² of memories: the 12 D² of a Transformer's block.
    return EnergyTransformerBlock(DIM, HEADS, memories=10 * DIM, steps=steps, causal=True)


class LanguageModel(nn.Module):
    """A causal language model on characters, of the blocks of a kind."""

    def __init__(self, kind: str, symbols: int, generator: torch.Generator) -> None:
        super().__init__()
        self.embed = nn.Embedding(symbols, DIM)
        self.place = nn.Parameter(torch.randn(CONTEXT, DIM) / 10)
        self.body = nn.Sequential(
            *(part for _ in range(LAYERS) for part in _block(kind, generator))
        )
        self.norm, self.head = nn.LayerNorm(DIM), nn.Linear(DIM, symbols)

    def forward(self, characters: Tensor) -> Tensor:
        """Logits of the next character at each place."""
        inside = self.embed(characters) + self.place[: characters.shape[-1]]
        return self.head(self.norm(self.body(inside)))

    def draw(self, draws: int | None) -> None:
        """Sets m of every attention."""
        for part in self.modules():
            if isinstance(part, StochasticAttention):
                part.draws = draws


def _block(kind: str, generator: torch.Generator) -> list[nn.Module]:
    if kind.startswith("energy"):
        return [energy_block(4 if "4" in kind else 2)]
    draws = int(kind.removeprefix("m = ")) if kind.startswith("m") else None
    attention = TiedAttention() if kind == "tied attention" else Attention(draws, generator)
    return [attention, Network(tied=kind == "tied memory")]


def train(
    kind: str, seed: int, codes: Tensor, symbols: int, steps: int, progress: Progress
) -> dict[str, Any]:
    """Train one model and return its curve, its losses for each m, and how its energy falls."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = LanguageModel(kind, symbols, generator)
    split = len(codes) * 9 // 10
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    batches, places = torch.Generator().manual_seed(seed), torch.arange(CONTEXT + 1)
    rows = codes[split : split + 64 * 20 * (CONTEXT + 1)].reshape(-1, CONTEXT + 1)[::20]
    curve, start = [], time.process_time()
    for step in progress.track(range(steps), description=f"{kind}, seed {seed}"):
        starts = torch.randint(split - CONTEXT - 1, (BATCH, 1), generator=batches)
        some = codes[starts + places]
        error = _loss(model, some)
        optimizer.zero_grad()
        error.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % EVERY == 0:
            with torch.no_grad():
                curve.append(float(_loss(model, rows)))
    found: dict[str, Any] = {
        "curve": curve, "nats": curve[-1], "seconds": time.process_time() - start,
        "weights": sum(part.numel() for part in model.body.parameters() if part.requires_grad),
        "tokens": rows[:, 1:].numel(),
    }  # fmt: skip
    with torch.no_grad():
        if kind in {"softmax", "m = 16", "m = 4", "m = 1"}:
            found["drawn"] = {str(m): _drawn(model, rows, m) for m in EVALUATED}
        if kind.startswith("energy"):
            inside, shares = model.embed(rows[:, :-1]) + model.place, []
            for block in model.body.children():
                if isinstance(block, EnergyTransformerBlock):
                    way = block.descend(inside)
                    inside = way.tokens
                    shares.append(float((way.changes <= 0).float().mean()))
            found["falls"] = sum(shares) / len(shares)
    return found


def _loss(model: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())


def _drawn(model: LanguageModel, rows: Tensor, draws: int | None) -> float:
    model.draw(draws)
    repeats = 1 if draws is None else 4
    return sum(float(_loss(model, rows)) for _ in range(repeats)) / repeats


def as_table(found: dict[str, Any]) -> Table:
    """Everything for the eye."""
    table = Table(title="Nats a character")
    evaluated = [f"run with {'softmax' if m is None else f'm = {m}'}" for m in EVALUATED]
    for column in ("trained with", "weights", "nats", "seconds", "energy falls", *evaluated):
        table.add_column(column, justify="right")
    for kind in KINDS:
        lines = [line for key, line in found.items() if key.split("/")[0] == kind]
        if not lines:
            continue
        drawn = [[line["drawn"][str(m)] for line in lines] for m in EVALUATED
                 if "drawn" in lines[0]]  # fmt: skip
        falls = [line["falls"] for line in lines if "falls" in line]
        table.add_row(
            kind, f"{lines[0]['weights']:,}",
            " ".join(f"{line['nats']:.3f}" for line in lines),
            f"{lines[0]['seconds']:.0f}", f"{100 * sum(falls) / len(falls):.1f} %" if falls else "",
            *(f"{sum(values) / len(values):.3f}" for values in drawn),
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
