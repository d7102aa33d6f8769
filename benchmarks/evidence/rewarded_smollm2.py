"""SmolLM2-135M taught by LanguageQ from a reward that a program can check, on one thread.

A prompt is gone on with by a few tokens; the reward says whether the text is of a form: that it
stops with a full stop, that it tells of rain, that a line ends in it, that a question is asked.
Only the upper third of the blocks learns. Success before is counted in sequences of the reference,
success and KL after in as many of what was learned; all are drawn anew at T = 1. Seconds are
processor time.

One run goes to one file in --out with a checkpoint beside it, and a second call goes on.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Generator

from benchmarks.evidence.cache import Cache
from benchmarks.evidence.models import Loaded, smollm2, stories260k
from isinglass.language import LanguageQ, LearningOptions, optimum

PROMPT = "The weather today is"
SETTINGS = LearningOptions(batch=32, replay_batch=16, updates=3, change=1.0)


def asks(text: str) -> bool:
    """Whether a question is asked."""
    return "?" in text


def stops(text: str) -> bool:
    """Whether the last sentence is whole."""
    return text.rstrip().endswith(".")


def rains(text: str) -> bool:
    """Whether it tells of rain."""
    return "rain" in text.lower()


def breaks(text: str) -> bool:
    """Whether a line ends in it."""
    return "\n" in text


TASKS: dict[str, Callable[[str], bool]] = {
    "stop": stops,
    "rain": rains,
    "line": breaks,
    "question": asks,
}


def main() -> None:
    """Parse the command line, learn what is not learned yet, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.rewarded_smollm2", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("evidence/language"))
    parser.add_argument("--task", choices=TASKS, default="stop")
    parser.add_argument("--seed", type=int, default=300)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=16, help="that go on with the prompt")
    parser.add_argument("--rollouts", type=int, default=512, help="to measure with")
    parser.add_argument("--quick", action="store_true", help="stories260K, two steps")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.quick:
        given.steps, given.rollouts, given.task = 2, 64, "stop"
    loaded = stories260k() if given.quick else smollm2()
    path = given.out / f"rewarded-{loaded.name}-{given.task}-{given.tokens}-{given.seed}.json"
    cache = Cache(path)
    found = taught(loaded, given, cache)
    Console().print(as_table(given.task, found))
    for kind in ("before", "after"):
        for text in found[kind]["texts"]:
            Console().print(f"{kind}: {text!r}", markup=False)


def freeze_below(model: Any) -> int:
    """Let the upper third of the blocks alone learn; return how many numbers those are."""
    model.requires_grad_(False)
    layers = model.base_model.layers
    for block in layers[-(-2 * len(layers) // 3) :]:
        block.requires_grad_(True)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def taught(loaded: Loaded, given: argparse.Namespace, cache: Cache) -> dict[str, Any]:
    """Measure the reference, learn, measure what was learned."""
    learned = freeze_below(loaded.model)
    reference = copy.deepcopy(loaded.model).requires_grad_(False)
    judge = LanguageQ(loaded.model, reference, tokenizer=loaded.tokenizer)
    prompts, check = ["One day, Tom" if given.quick else PROMPT], TASKS[given.task]

    def reward(texts: list[str]) -> list[float]:
        return [float(check(text)) for text in texts]

    def measure(seed: int) -> dict[str, Any]:
        drawn = Generator().manual_seed(seed)
        found = judge.evaluate(
            prompts, reward, rollouts=given.rollouts, max_tokens=given.tokens,
            generator=drawn,
        )  # fmt: skip
        some = judge.texts(judge.sample(prompts * 4, given.tokens, drawn))
        return {"reward": found.reward, "error": found.reward_error, "kl": found.kl, "texts": some}

    before = cache.get("before", lambda: measure(given.seed + 1))
    checkpoint = cache.path.with_suffix(".safetensors")

    def learn() -> dict[str, Any]:
        begin = time.process_time()
        report = judge.fit(
            prompts, reward, SETTINGS, max_tokens=given.tokens, steps=given.steps,
            base_rate=before["reward"],
            checkpoint=checkpoint, resume=checkpoint.exists(), progress=False,
            on_step=lambda row: Console().print(row),
            generator=Generator().manual_seed(given.seed),
        )  # fmt: skip
        seconds = time.process_time() - begin
        after = measure(given.seed + 2)
        return after | {"rollouts": report["rollouts"][-1], "seconds": seconds}

    after = cache.get("after", learn)
    best = optimum(before["reward"], judge.temperature)[1]
    value = after["reward"] - judge.temperature * after["kl"]
    share = value / best if best else float("nan")
    return {"before": before, "after": after, "learned": learned, "share": share}


def as_table(task: str, found: dict[str, Any]) -> Table:
    """Success before and after, KL, and what it took."""
    names = "reward", "numbers learned", "before", "after", "KL", "share of V*", "rollouts", "s"
    table = Table(*names)
    before, after = found["before"], found["after"]
    table.add_row(
        task, f"{found['learned']:,}", f"{before['reward']:.3f} ± {before['error']:.3f}",
        f"{after['reward']:.3f} ± {after['error']:.3f}", f"{after['kl']:.2f}",
        f"{found['share']:.2f}", f"{after['rollouts']:.0f}", f"{after['seconds']:.0f}",
    )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
