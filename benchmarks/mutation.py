"""Measure how many small faults of the code the tests notice, on a seeded random sample.

mutmut makes every mutant of the rooms named under ``[tool.mutmut]`` in ``pyproject.toml`` and runs
the tests that reach the changed function. All mutants are shuffled by the seed and taken in
batches until there are enough of them or the time is up: a batch is run to its end, so what was
taken is a random sample whatever each mutant takes.
"""

from __future__ import annotations

import argparse
import math
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mutmut.__main__ import create_mutants
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, walk_mutatable_files

NOTICED = ("killed", "timeout", "segfault")


def main() -> None:
    """Draw the sample, run it, print the share that was noticed and what was not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=200, help="how many mutants at most")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no batch later")
    parser.add_argument("--batch", type=int, default=100, help="how many mutants between two looks")
    parser.add_argument("--seed", type=int, default=0, help="of the order they are taken in")
    parser.add_argument("--processes", type=int, default=2, help="how many mutants at a time")
    given = parser.parse_args()
    started = time.monotonic()
    generate(given.processes)
    names = sorted(outcomes())
    order = random.Random(given.seed).sample(names, min(given.sample, len(names)))
    found: dict[str, str] = {}
    for batch in batches(order, given.batch):
        if time.monotonic() - started > 60 * given.minutes:
            break
        run(batch, given.processes)
        after = outcomes()
        found |= {name: after[name] for name in batch}
    sys.stdout.write("\n".join(report(found, len(names))) + "\n")


def generate(processes: int) -> None:
    """Write every mutant below ``mutants/``, as the first step of ``mutmut run`` does."""
    set_mutant_under_test("mutant_generation")
    copy_src_dir()
    copy_also_copy_files()
    create_mutants(processes)


def outcomes() -> dict[str, str]:
    """What became of each mutant, by its name."""
    found: dict[str, str] = {}
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        found |= {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items()}
    return found


def batches(order: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The order in pieces of one size, the last perhaps smaller."""
    for start in range(0, len(order), size):
        yield order[start : start + size]


def run(names: Sequence[str], processes: int) -> None:
    """Run the tests against these mutants.

    Raises:
        CalledProcessError: If the tests fail on the code as it is.
    """
    mutmut = Path(sys.executable).with_name("mutmut")
    subprocess.run([mutmut, "run", "--max-children", str(processes), *names], check=True)  # noqa: S603


def report(found: dict[str, str], mutants: int) -> Iterator[str]:
    """The share with its standard error, the counts, and the mutants that no test noticed."""
    counts = Counter(found.values())
    total = len(found)
    share = sum(counts[status] for status in NOTICED) / total if total else math.nan
    error = math.sqrt(share * (1 - share) / total) if total else math.nan
    yield f"noticed {share:.1%} ± {error:.1%} of {total} mutants drawn from {mutants}"
    yield ", ".join(f"{status} {count}" for status, count in counts.most_common())
    for name, status in sorted(found.items()):
        if status not in NOTICED:
            yield f"{status}: mutmut show {name}"


if __name__ == "__main__":
    main()
