"""Heads of SmolLM2-135M replaced by fixed weights, and what a certificate for fewer keys takes.

Heads are ranked and fitted on WikiText-2's validation text, each in closed form, then all together;
perplexity is that of its test text, in windows of 512 tokens, each predicted from those before it
in its window. Times are of one thread,
the process's own. The certificate is asked at one long window of the test text. Plans are kept in
--out, and a second run goes on where the first was stopped.
"""

from __future__ import annotations

import argparse
import gzip
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from benchmarks.evidence.cache import Cache
from benchmarks.evidence.models import Loaded, smollm2, stories260k
from isinglass.analysis.heads import certify_keys
from isinglass.integrations import (
    HeadPlan,
    plan_heads,
    rank_heads,
    replace_heads,
    tune_heads,
)
from isinglass.integrations.huggingface.attention_interface import (
    AttentionCall,
    replaced_attention,
)
from isinglass.integrations.huggingface.replaced_heads import attend_fixed

WINDOW = 512
SHARES = (0.12, 0.25)
DROPPED = 1e-3
BLOCKS = (8, 32)
TIMED = (512, 2048)
HEADS = (0.1, 0.5, 0.9)  # shares of the heads that get by with what a table says


def main() -> None:
    """Parse the command line, measure, print the tables; what was found stays in --out."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.replaced_heads", description=__doc__
    )
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ISINGLASS_DATA", "data")),
        help="folder with text/wikitext2_valid.txt.gz and _test in it",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="where results go")
    parser.add_argument("--fit", type=int, default=32, help="windows to rank and fit on")
    parser.add_argument("--test", type=int, default=16, help="windows to report on")
    parser.add_argument("--length", type=int, default=8192, help="tokens for the certificate")
    parser.add_argument(
        "--shares",
        type=float,
        nargs="*",
        default=SHARES,
        help="shares of the heads to replace; none for the certificate alone",
    )
    parser.add_argument(
        "--tune", type=int, default=100, help="steps in which all heads are fitted together"
    )
    parser.add_argument("--quick", action="store_true", help="stories260K, a few tokens")
    given = parser.parse_args()
    if given.quick:
        given.fit, given.test, given.length, given.tune = 4, 4, 512, 5
    loaded = stories260k(given.data) if given.quick else smollm2()
    given.out.mkdir(parents=True, exist_ok=True)
    cache = Cache(given.out / f"replaced_heads-{loaded.name}-{given.fit}-{given.test}.json")
    certificate = f"certificate {given.length}"
    with Progress() as progress:
        cache.get(certificate, lambda: _certificate(loaded, given, progress))
        for share in given.shares:
            plan = _plan(loaded, given, share, progress)
            _perplexities(loaded, given, str(share), plan, cache)
            tuned = _tuned(loaded, given, share, plan, progress)
            _perplexities(loaded, given, f"{share} tuned {given.tune}", tuned, cache)
            for length in TIMED[: 1 if given.quick else None]:
                key = f"time {share} {length}"
                cache.get(key, lambda p=plan, n=length: _time(loaded, given, p, n))
    names = [n for s in given.shares for n in (str(s), f"{s} tuned {given.tune}")]
    if names:
        Console().print(_table(cache, names), _time_table(cache))
    Console().print(_certificate_table(cache.found[certificate]))
    Console().print(f"written to {cache.path}")


def read_windows(loaded: Loaded, data: Path, split: str, count: int, length: int) -> Tensor:
    """Return the first tokens of a split in windows, ``(count, length)``."""
    with gzip.open(data / "text" / f"wikitext2_{split}.txt.gz", "rt", encoding="utf-8") as file:
        text = file.read(count * length * 8)
    return torch.tensor(loaded.tokenizer(text)["input_ids"][: count * length]).view(count, length)


def _plan(loaded: Loaded, given: argparse.Namespace, share: float, progress: Progress) -> HeadPlan:
    """Rank once, fit for each share, or read what is kept."""
    task = progress.add_task(f"plan for {share:.0%}", total=1.0)

    def notify(stage: str, done: float) -> None:
        progress.update(task, completed=done, description=f"{share:.0%}: {stage}")

    ranked = given.out / f"ranking-{loaded.name}-{given.fit}.safetensors"
    kept = _path(loaded, given, share)
    windows = read_windows(loaded, given.data, "valid", given.fit, WINDOW)
    if not ranked.is_file():
        rank_heads(loaded.model, windows, notify=notify).save(ranked)
    if not kept.is_file():
        ranking = HeadPlan.load(ranked)
        plan_heads(loaded.model, windows, share, ranking=ranking, notify=notify).save(kept)
    progress.update(task, completed=1.0)
    return HeadPlan.load(kept)


def _tuned(
    loaded: Loaded, given: argparse.Namespace, share: float, plan: HeadPlan, progress: Progress
) -> HeadPlan:
    """Fit all heads of a plan together, or read what is kept."""
    kept = _path(loaded, given, share).with_suffix(f".tuned-{given.tune}.safetensors")
    task = progress.add_task(f"tune {share:.0%}", total=1.0)
    if not kept.is_file():
        windows = read_windows(loaded, given.data, "valid", given.fit, WINDOW)
        tune_heads(
            loaded.model, windows, plan, given.tune,
            generator=torch.Generator().manual_seed(0),
            notify=lambda _, done: progress.update(task, completed=done),
        ).save(kept)  # fmt: skip
    progress.update(task, completed=1.0)
    return HeadPlan.load(kept)


def _path(loaded: Loaded, given: argparse.Namespace, share: float) -> Path:
    return given.out / f"plan-{loaded.name}-{given.fit}-{share}.safetensors"


def _perplexities(
    loaded: Loaded, given: argparse.Namespace, name: str, plan: HeadPlan, cache: Cache
) -> None:
    """Losses of the test windows of the model, with the plan, and with nothing replaced."""
    windows = read_windows(loaded, given.data, "test", given.test, WINDOW)
    empty = HeadPlan({}, plan.total)
    cache.get("loss 0", lambda: {"windows": _losses(loaded, windows, None)})
    cache.get(
        f"loss {name}", lambda: {"windows": _losses(loaded, windows, plan), "heads": len(plan)}
    )

    def same() -> dict[str, float]:
        model = loaded.model
        with torch.no_grad():
            expected = model(windows[:1], use_cache=False).logits
            with replace_heads(model, empty):
                found = model(windows[:1], use_cache=False).logits
        return {"largest difference": float((found - expected).abs().max())}

    cache.get("nothing replaced", same)


@torch.no_grad()
def _losses(loaded: Loaded, windows: Tensor, plan: HeadPlan | None) -> list[float]:
    """Nats a token of each window."""

    def losses() -> list[float]:
        found = []
        for some in windows.split(2):
            logits = loaded.model(some, use_cache=False).logits[:, :-1]
            each = torch.nn.functional.cross_entropy(
                logits.transpose(1, 2), some[:, 1:], reduction="none"
            )
            found += each.mean(1).tolist()
        return found

    if plan is None:
        return losses()
    with replace_heads(loaded.model, plan):
        return losses()


def _time(
    loaded: Loaded, given: argparse.Namespace, plan: HeadPlan, length: int
) -> dict[str, float]:
    """Seconds of the process in the attention of one window, and of a token after it.

    Every call is timed as it is and with the plan, side by side, the least of two.
    """
    window = read_windows(loaded, given.data, "test", 1, length)
    model = loaded.model.base_model
    names = {id(module): name for name, module in loaded.model.named_modules()}
    found: dict[str, float] = {}
    kind = "window"

    def attend(call: AttentionCall) -> tuple[Tensor, None]:
        part = plan.modules.get(names[id(call.module)])
        _timed(found, f"{kind}, replaced", lambda: attend_fixed(call, part))
        return _timed(found, f"{kind}, plain", call.fused), None

    with replaced_attention(loaded.model, attend), torch.no_grad():
        start = time.process_time()
        cache = model(window[:, :-1], use_cache=True).past_key_values
        whole = time.process_time() - start
        kind = "token"
        model(window[:, -1:], past_key_values=cache, use_cache=True)
    return found | {"window, the rest": whole - 2 * sum(
        seconds for key, seconds in found.items() if key.startswith("window")
    )}  # fmt: skip


def _timed(found: dict[str, float], key: str, call: Callable[[], Tensor]) -> Tensor:
    """Add the least of two times of a call to those of a key."""
    start = time.process_time()
    call()
    between = time.process_time()
    output = call()
    seconds = min(between - start, time.process_time() - between)
    found[key] = found.get(key, 0.0) + seconds
    return output


def _certificate(
    loaded: Loaded, given: argparse.Namespace, progress: Progress
) -> dict[str, list[list[float]]]:
    """Quantiles over some queries of each head of the share of the keys that is needed and read."""
    window = read_windows(loaded, given.data, "test", 1, given.length)
    rows = torch.arange(given.length - 1, given.length // 8, -max(1, given.length // 64)).flip(0)
    quantiles = torch.tensor([0.5, 0.9, 0.99, 1.0], dtype=torch.double)
    found: dict[str, list[list[float]]] = {"needed": []}
    task = progress.add_task("certificate", total=loaded.model.config.num_hidden_layers)

    def attend(call: AttentionCall) -> tuple[Tensor, None]:
        heads = call.heads()
        for block in BLOCKS:
            seen = certify_keys(heads, rows, dropped=DROPPED, block=block)
            if bool((seen.dropped > seen.bound + 1e-5).any()):
                raise AssertionError("more was dropped than was proven")
            shares = {f"read, blocks of {block}": seen.read / seen.keys}
            if block == BLOCKS[0]:
                shares["needed"] = seen.needed / seen.keys
            for name, share in shares.items():
                each = share[0].double().quantile(quantiles, -1)  # (4, H)
                found.setdefault(name, []).extend(each.mT.tolist())
        progress.advance(task)
        return call.fused(), None

    with replaced_attention(loaded.model, attend), torch.no_grad():
        loaded.model.base_model(window, use_cache=False)
    return found


def _table(cache: Cache, names: Sequence[str]) -> Table:
    """Perplexity and time for each share."""
    table = Table(title="Heads replaced by fixed weights")
    for column in ("share", "heads", "perplexity", "more", "±"):
        table.add_column(column, justify="right")
    plain = torch.tensor(cache.found["loss 0"]["windows"])
    table.add_row("0", "0", f"{math.exp(plain.mean()):.2f}", "", "")
    for name in names:
        line, share = cache.found[f"loss {name}"], float(name.split()[0])
        losses = torch.tensor(line["windows"])
        rise = losses - plain
        error = float(rise.std() / len(rise) ** 0.5)
        table.add_row(
            f"{share:.0%}{', together' * ('tuned' in name)}", str(line["heads"]),
            f"{math.exp(losses.mean()):.2f}",
            f"{math.expm1(rise.mean()):+.2%}", f"{error:.2%}",
        )  # fmt: skip
    return table


def _time_table(cache: Cache) -> Table:
    """Seconds in attention, as it is and with heads replaced."""
    table = Table(title="Seconds in attention")
    names = ("plain", "replaced", "the rest")
    for column in ("share", "tokens", "of", *names):
        table.add_column(column, justify="right")
    for key, found in cache.found.items():
        for kind in ("window", "token") if key.startswith("time ") else ():
            _, share, length = key.split()
            times = (found.get(f"{kind}, {name}", math.nan) for name in names)
            table.add_row(share, length, f"a {kind}", *(f"{seconds:.4f}" for seconds in times))
    return table


def _certificate_table(found: dict[str, list[list[float]]]) -> Table:
    """How many of the keys it takes: over the queries of a head, and over the heads."""
    table = Table(title=f"Share of the keys for a mass dropped of at most {DROPPED:g}")
    for column in ("", "query of a head", *(f"{part:.0%} of heads" for part in HEADS), "≤ 10 %"):
        table.add_column(column, justify="right")
    for name, lines in found.items():
        each = torch.tensor(lines)  # (heads, quantiles)
        for at, query in enumerate(("median", "90 %", "99 %", "worst")):
            shares = each[:, at].quantile(torch.tensor(HEADS)).tolist()
            good = f"{int((each[:, at] <= 0.1).sum())} of {len(each)}"
            table.add_row(name, query, *(f"{share:.1%}" for share in shares), good)
    return table


if __name__ == "__main__":
    main()
