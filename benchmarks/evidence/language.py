"""LanguageQ by its defaults beside REINFORCE, rejection fine-tuning and best-of-n.

Tasks: random languages of 5 words and 4 places, listed exactly, with a reward that a sequence has
one word twice (toy) or three times (rare); and stories260K, whose reward is that a story of 48
tokens has a word in it. Defaults were chosen on the word dog and on languages 200 to 211; what is
reported are other words and languages 100 and up, stories after about a minute. The rates of
rejection fine-tuning were not tuned; REINFORCE finds its own, as LanguageQ does. All methods draw
the same number of sequences, those of the reference before the first step among them; "half" is
LanguageQ with half as many steps, on the languages alone. Shares are of the exact optimum V* = T
log(1 − p₀ + p₀e^{1/T}); "wide" and "natural gradient", of stories alone, were chosen on the word
dog. p₀ of a word is counted in 4,096 stories of the reference. Seconds are processor time of the
one thread that learns.

One run goes to one file in --out, and a second call makes only what is missing.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Generator, Tensor

from benchmarks.evidence.cache import Cache
from benchmarks.evidence.models import stories260k
from benchmarks.evidence.natural_gradient import NaturalGradient
from isinglass.language import LanguageQ, LearningOptions, Rollouts, TabularLanguage, optimum
from isinglass.language.learner import Learner
from isinglass.language.residuals import score
from isinglass.language.rewards import RewardOf

WORDS, LENGTH, END = 5, 4, 2
STORIES = ("bird", "tree", "mommy", "happy")
TOYS = {"toy": 2, "rare": 3}  # how often a sequence must have the word
TASKS = (*TOYS, *STORIES)
METHODS = (
    "LanguageQ", "half", "cooled", "wide", "without replay", "suffix", "REINFORCE",
    "rejection fine-tuning", "natural gradient",
)  # fmt: skip
NOT_ON = {"half": STORIES, "wide": (*TOYS,), "natural gradient": (*TOYS,)}
CHANGED: dict[str, dict[str, Any]] = {
    "wide": {"batch": 128, "replay": 1024, "change": 1.0},
    "cooled": {"updates": 4, "replay_batch": 128, "cooling": 0.5},
    "without replay": {"replay": 0, "updates": 1},
    "suffix": {"residual": "suffix"},
}


class Reinforce(Learner):
    """REINFORCE with a KL penalty in the reward and a learned baseline, on new sequences only."""

    baseline, seen = 0.0, 0

    def loss(self, rollouts: Rollouts) -> Tensor:
        """Minus (R − T log π/π_ref − b) log π; b follows the mean of what it is taken from."""
        mine = score(self.judge.model, rollouts.sequences).log_p
        ratio = (mine - rollouts.scores.log_p).sum(1).detach()
        gain = rollouts.rewards - self.judge.temperature * ratio
        loss = -((gain - self.baseline) * mine.sum(1)).mean()
        self.seen += 1
        self.baseline += (float(gain.mean()) - self.baseline) / min(self.seen, 10)
        return loss


class Rejection(Learner):
    """Likelihood of what the reference drew and was rewarded; it draws nothing else."""

    kept: Rollouts | None = None

    def step(self, base_rate: float | None) -> dict[str, float]:
        """Draws from the reference and learns from all that was rewarded so far."""
        fresh, _ = self.draw(self.reference)
        good = fresh.rows((fresh.rewards > 0).nonzero()[:, 0])
        if len(good):
            self.kept = good if self.kept is None else Rollouts.join([self.kept, good])
        if self.kept is not None:
            for _ in range(self.options.updates):
                many = (self.options.batch,)
                some = torch.randint(len(self.kept), many, generator=self.generator)
                self.descend(self.kept.rows(some))
        self.history.append({"step": len(self.history) + 1.0, "rollouts": float(self.rollouts)})
        return self.history[-1]

    def loss(self, rollouts: Rollouts) -> Tensor:
        """Minus log π."""
        return -score(self.judge.model, rollouts.sequences).log_p.sum(1).mean()


PEERS: dict[str, type[Learner]] = {
    "REINFORCE": Reinforce, "rejection fine-tuning": Rejection, "natural gradient": NaturalGradient
}  # fmt: skip


def learn(
    judge: LanguageQ, method: str, prompts: Any, reward: Any, steps: int, options: LearningOptions,
    base_rate: float, generator: Generator,
) -> int:  # fmt: skip
    """Learn by one method; return how many sequences were drawn."""
    if method not in PEERS:
        report = judge.fit(
            prompts, reward, options, steps=steps, base_rate=base_rate, progress=False,
            generator=generator, **CHANGED.get(method, {}),
        )  # fmt: skip
        return int(report["rollouts"][-1])
    if judge.reference is None:
        judge.reference = copy.deepcopy(judge.model).requires_grad_(False)
    rate = 3e-4 if judge.tokenizer is not None else 0.03
    settings = {
        "REINFORCE": {"replay": 0, "updates": 1},
        "rejection fine-tuning": {"replay": 0, "learning_rate": rate},
        "natural gradient": {"batch": 192, "change": 1.5, "average": 0.8},
    }[method]
    options = LearningOptions(max_tokens=options.max_tokens, **settings)
    judge.eval()
    learner = PEERS[method](
        judge, judge.reference, judge.prompts(prompts), RewardOf(reward, judge), options, steps,
        generator,
    )  # fmt: skip
    learner.begin()
    for _ in range(steps):
        learner.step(base_rate)
    learner.finish()
    return learner.rollouts


def toy(method: str, seed: int, steps: int, need: int) -> dict[str, Any]:
    """Learn a random language, measured by enumeration."""
    generator = Generator().manual_seed(seed)
    reference, model = TabularLanguage(WORDS, LENGTH), TabularLanguage(WORDS, LENGTH)
    with torch.no_grad():
        drawn = torch.randn(reference.table.shape, generator=generator, dtype=torch.float64)
        reference.table.copy_(drawn)
        model.table.copy_(drawn)
    judge = LanguageQ(model, reference, end=END)
    every = reference.sequences(END)
    log_ref = LanguageQ(reference, end=END).log_prob(every).detach()
    reward = partial(threes, need)
    rewards = torch.tensor(reward(every.lists())).double()
    base = float((log_ref.exp() * rewards).sum())
    begin = time.process_time()
    options = LearningOptions(max_tokens=LENGTH)
    rollouts = learn(judge, method, [[0]], reward, steps, options, base, generator)
    seconds = time.process_time() - begin
    log_p = judge.log_prob(every).detach()
    success = float((log_p.exp() * rewards).sum())
    kl = float((log_p.exp() * (log_p - log_ref)).sum())
    return outcome(judge.temperature, base, success, kl, rollouts, seconds)


def threes(need: int, rows: list[list[int]]) -> list[float]:
    """Whether a sequence has the word 3 so often."""
    return [float(row.count(3) >= need) for row in rows]


def story(word: str, method: str, seed: int, steps: int, base: float) -> dict[str, Any]:
    """Learn to tell stories with a word in them."""
    loaded, generator = stories260k(), Generator().manual_seed(seed)
    judge = LanguageQ(loaded.model, tokenizer=loaded.tokenizer)
    reward = partial(mentions, word)
    begin = time.process_time()
    options = LearningOptions()
    rollouts = learn(judge, method, [""], reward, steps, options, base, generator)
    seconds = time.process_time() - begin
    found = judge.evaluate([""], reward, rollouts=1024, generator=generator)
    return outcome(judge.temperature, base, found.reward, found.kl, rollouts, seconds)


def mentions(word: str, texts: list[str]) -> list[float]:
    """Whether a story has the word."""
    return [float(word in text.lower()) for text in texts]


def base_rates(rollouts: int) -> dict[str, Any]:
    """Count how often stories of the reference have each word."""
    loaded, generator = stories260k(), Generator().manual_seed(9_999)
    judge = LanguageQ(loaded.model, tokenizer=loaded.tokenizer)
    found = judge.texts(judge.sample([""] * rollouts, LearningOptions().max_tokens, generator))
    return {word: sum(mentions(word, found)) / rollouts for word in STORIES}


def outcome(
    temperature: float, base: float, reward: float, kl: float, rollouts: int, seconds: float
) -> dict[str, Any]:
    """What a run is reported by; KL(π‖π*) = (V* − E[R] + T·KL)/T."""
    best = optimum(base, temperature)[1]
    value = reward - temperature * kl
    return {
        "base": base, "reward": reward, "kl": kl, "share": value / best,
        "kl_to_optimum": (best - value) / temperature, "rollouts": rollouts, "seconds": seconds,
    }  # fmt: skip


def best_of(base: float, temperature: float) -> tuple[int, float, float]:
    """The n of best-of-n whose value is the greatest: n, success and the share of the optimum.

    KL ≤ log n − (n − 1)/n, taken as if it were that (Beirami et al. 2024, arXiv:2401.01879).
    """
    best = optimum(base, temperature)[1]

    def value(n: int) -> float:
        return 1 - (1 - base) ** n - temperature * (math.log(n) - (n - 1) / n)

    n = max(range(1, 1000), key=value)
    return n, 1 - (1 - base) ** n, value(n) / best


def main() -> None:
    """Parse the command line, make what is missing, print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.language", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("evidence/language"))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: does it run?")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.quick:
        given.seeds, given.out = given.seeds[:1], given.out / "quick"
    todo = [
        (t, m, s) for t in given.tasks for m in given.methods for s in given.seeds
        if t not in NOT_ON.get(m, ())
    ]  # fmt: skip
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with Progress() as progress:
        for task, method, seed in progress.track(todo, description="runs"):
            make = maker(task, method, seed, given.out, quick=given.quick)
            path = given.out / f"{task}-{method}-{seed}.json".replace(" ", "_")
            found.setdefault((task, method), []).append(Cache(path).get("run", make))
    Console(width=110).print(as_table(found))


def maker(
    task: str, method: str, seed: int, out: Path, *, quick: bool
) -> Callable[[], dict[str, Any]]:
    """What makes one run."""
    if task in TOYS:
        steps = TOY_STEPS // 2 if method == "half" else TOY_STEPS
        return partial(toy, method, seed, 3 if quick else steps, TOYS[task])
    count = partial(base_rates, 64 if quick else 4096)
    base = Cache(out / "stories-base.json").get(" ".join(STORIES), count)[task] or 0.05
    steps = 2 if quick else FEWER.get(method, STORY_STEPS)
    return partial(story, task, method, seed, steps, base)


TOY_STEPS = 80  # the default
STORY_STEPS = 45  # 50 s by defaults
FEWER = {"wide": 36, "natural gradient": 38}  # for as many seconds


def as_table(found: dict[tuple[str, str], list[dict[str, Any]]]) -> Table:
    """Builds means over the seeds, the worst in parentheses."""
    names = "task", "method", "p₀", "success", "KL", "share of V*", "KL to π*", "rollouts", "s"
    table = Table(*names)
    for (task, method), runs in found.items():
        means = {name: sum(run[name] for run in runs) / len(runs) for name in runs[0]}
        worst = {name: min(run[name] for run in runs) for name in runs[0]}
        table.add_row(
            task, method, f"{means['base']:.3f}",
            f"{means['reward']:.3f} ({worst['reward']:.3f})", f"{means['kl']:.2f}",
            f"{means['share']:.3f} ({worst['share']:.3f})", f"{means['kl_to_optimum']:.3f}",
            f"{means['rollouts']:.0f}", f"{means['seconds']:.0f}",
        )  # fmt: skip
    for task in dict.fromkeys(task for task, _ in found):
        bases = [run["base"] for (name, _), runs in found.items() if name == task for run in runs]
        base = sum(bases) / len(bases)
        n, success, share = best_of(base, LanguageQ(TabularLanguage(2, 1)).temperature)
        table.add_row(task, f"best of {n}", f"{base:.3f}", f"{success:.3f}", "", f"{share:.3f}",
                      "", f"{n} an answer", "")  # fmt: skip
    return table


if __name__ == "__main__":
    main()
