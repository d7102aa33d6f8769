"""Attention by look-up: its error beside theory, and what a language model loses by it.

First, heads of made-up keys: the distance to softmax attention for m draws beside √(Var/m). Then
a Transformer of torch's own layers, trained on Shakespeare with softmax attention (the text is
looked for in --data), evaluated with every head drawn: nats per character against m. The trained
model is kept in --out, and a second run goes on from it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from isinglass.io.atomic import atomic_write
from isinglass.nn import replace_attention, stochastic_attention

DRAWS = (1, 2, 4, 8, 16, 32, 64, 256, 1024)
CONTEXT, DIM, HEADS, LAYERS = 128, 128, 4, 4


def main() -> None:
    """Parse the command line, measure, print one table, store it with a picture."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.stochastic_attention", description=__doc__
    )
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ISINGLASS_DATA", "data")),
        help="folder with text/tinyshakespeare.txt.gz in it",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="where results go")
    parser.add_argument("--steps", type=int, default=1500, help="training steps of the model")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each number of draws")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--quick", action="store_true", help="20 steps, one run each")
    given = parser.parse_args()
    if given.quick:
        given.steps, given.repeats = 20, 1
    given.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(given.seed)
    with Progress() as progress:
        found = {"made-up heads": made_up(given.seed, progress)}
        text = given.data / "text" / "tinyshakespeare.txt.gz"
        if text.is_file():
            found["Shakespeare"] = language_model(text, given, progress)
        else:
            progress.console.print(f"No {text}: without the language model.")
    Console().print(as_table(found))
    with atomic_write(given.out / "stochastic_attention.json", overwrite=True) as aside:
        aside.write_text(json.dumps(found, indent=2))
    with atomic_write(given.out / "stochastic_attention.svg", overwrite=True) as aside:
        picture(found).savefig(aside)
    Console().print(f"written to {given.out}")


def made_up(seed: int, progress: Progress) -> dict[str, dict[str, float]]:
    """Root-mean-square distance to softmax attention beside the multinomial distribution's."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(8, 256, 64, generator=generator).double() for _ in range(3))
    exact = stochastic_attention(q, k, v)
    p = torch.softmax(q @ k.mT / 8, -1)
    variance = (p @ v.square() - exact.square()).mean()
    found = {}
    for draws in progress.track(DRAWS, description="made-up heads"):
        drawn = stochastic_attention(q, k, v, draws, generator=generator)
        error = float((drawn - exact).square().mean().sqrt())
        found[str(draws)] = {"measured": error, "theory": float((variance / draws).sqrt())}
    return found


class LanguageModel(nn.Module):
    """A causal Transformer of torch's own layers, on characters."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(symbols, DIM)
        self.place = nn.Parameter(torch.randn(CONTEXT, DIM) / 10)
        layer = nn.TransformerEncoderLayer(
            DIM, HEADS, 4 * DIM, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(DIM, symbols)

    def forward(self, characters: Tensor) -> Tensor:
        """Logits of the next character at each place."""
        mask = nn.Transformer.generate_square_subsequent_mask(characters.shape[-1])
        inside = self.embed(characters) + self.place[: characters.shape[-1]]
        return self.head(self.body(inside, mask=mask, is_causal=True))


def language_model(
    path: Path, given: argparse.Namespace, progress: Progress
) -> dict[str, dict[str, float]]:
    """Nats per character on the last tenth of the text, for each number of draws."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        text = file.read()
    symbols = sorted(set(text))
    codes = torch.tensor([symbols.index(character) for character in text])
    split = len(codes) * 9 // 10
    model = LanguageModel(len(symbols))
    kept = given.out / f"shakespeare-{given.steps}-{given.seed}.safetensors"
    if kept.is_file():
        model.load_state_dict(load_file(kept))
    else:
        train(model, codes[:split], given, progress)
        with atomic_write(kept) as aside:
            save_file(model.state_dict(), aside)
    rows = codes[split : split + 64 * (CONTEXT + 1)].reshape(64, CONTEXT + 1)
    model.eval()
    exact = loss(model, rows)
    found = {"inf": {"loss": exact, "deviation": 0.0}}
    generator = torch.Generator().manual_seed(given.seed)
    for draws in progress.track(DRAWS, description="Shakespeare, drawn"):
        replace_attention(model, draws, generator=generator)
        many = torch.tensor([loss(model, rows) for _ in range(given.repeats)])
        found[str(draws)] = {"loss": float(many.mean()), "deviation": float(many.std())}
    return found


def train(
    model: LanguageModel, codes: Tensor, given: argparse.Namespace, progress: Progress
) -> None:
    """Adam on random stretches of the text, softmax attention throughout."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=given.steps)
    generator = torch.Generator().manual_seed(given.seed)
    places = torch.arange(CONTEXT + 1)
    for _ in progress.track(range(given.steps), description="training on Shakespeare"):
        starts = torch.randint(len(codes) - CONTEXT - 1, (32, 1), generator=generator)
        rows = codes[starts + places]
        logits = model(rows[:, :-1])
        error = nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def loss(model: LanguageModel, rows: Tensor) -> float:
    """Nats per character."""
    logits = model(rows[:, :-1])
    return float(nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()))


def as_table(found: dict[str, dict[str, dict[str, float]]]) -> Table:
    """Everything for the eye."""
    table = Table(title="Attention by look-up")
    for column in ("draws m", "error", "theory", "nats per character", "more than softmax"):
        table.add_column(column, justify="right")
    heads, model = found["made-up heads"], found.get("Shakespeare", {})
    exact = model.get("inf", {}).get("loss", 0.0)
    for draws in [*map(str, DRAWS), "inf"]:
        head, line = heads.get(draws, {"measured": 0.0, "theory": 0.0}), model.get(draws)
        table.add_row(
            draws, f"{head['measured']:.4f}", f"{head['theory']:.4f}",
            f"{line['loss']:.4f}" if line else "–", f"{line['loss'] - exact:.4f}" if line else "–",
        )  # fmt: skip
    return table


def picture(found: dict[str, dict[str, dict[str, float]]]) -> Figure:
    """Error and loss against m."""
    model = found.get("Shakespeare")
    figure = Figure((7.2 if model else 3.6, 2.8), layout="constrained")
    axes = figure.subplots(1, 2 if model else 1, squeeze=False)[0]
    heads = found["made-up heads"].values()
    axes[0].loglog(DRAWS, [head["theory"] for head in heads], "--", color="0.5", label="√(Var/m)")
    axes[0].loglog(DRAWS, [head["measured"] for head in heads], "o", label="measured")
    axes[0].set(xlabel="draws m", ylabel="distance to softmax attention")
    axes[0].legend(frameon=False)
    if model:
        axes[1].axhline(model["inf"]["loss"], ls="--", color="0.5", label="softmax attention")
        losses = [model[str(draws)]["loss"] for draws in DRAWS]
        axes[1].semilogx(DRAWS, losses, "o-", label="drawn")
        axes[1].set(xlabel="draws m, each head at each place", ylabel="nats per character")
        axes[1].legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
