"""Check annotated shapes at the first calls in every test, and seed torch's global generator.

What is slow, the commands, examples of docstrings and pages, and agreement with what ours replaces
run as a user has them: without that check.

The environment says on what the tests run: ``ISINGLASS_TEST_THREADS=n`` on n threads (1),
``ISINGLASS_TEST_SEED=n`` on the nth set of seeds (0), ``ISINGLASS_TEST_JITTER=n`` on the nth of
many made-up processors (:mod:`tests.other_machine`; none), ``ISINGLASS_TEST_SHAPES=0`` without
the check of shapes, which are the same on every processor.
"""

import os
from pathlib import Path

# Two test workers, two cores: one thread each, unless asked for more. The linear algebra of numpy
# and of processes that tests start reads it when it is loaded; its second thread waits by spinning,
# which takes a hundred times as long as products of small matrices.
THREADS = os.environ.get("ISINGLASS_TEST_THREADS", "1")
for library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", THREADS)

import tests.typechecker
from jaxtyping import install_import_hook

# typer reads the annotations of the command line's functions itself, and scikit-learn wants
# constructors of estimators to take anything.
package = Path(__file__).parent / "src/isinglass"
rooms = {path.stem for path in package.iterdir()} - {"cli", "integrations", "__main__", "__init__"}
rooms |= {f"integrations.{path.stem}" for path in (package / "integrations").glob("[!_]*.py")}
install_import_hook([f"isinglass.{room}" for room in sorted(rooms)], "tests.typechecker.check")

import jaxtyping
import pytest
import torch
from tests.other_machine import OtherMachine
from tests.seeds import SEED, seeded

torch.set_num_threads(int(THREADS))

MACHINE = int(os.environ.get("ISINGLASS_TEST_JITTER", "0"))
if MACHINE:
    OtherMachine(MACHINE).__enter__()  # until the end, fixtures of modules included


#: Tests that run as a user has the package.
PLAIN = {Path(__file__).parent / folder for folder in ("tests/cli", "benchmarks")}
SHAPES = os.environ.get("ISINGLASS_TEST_SHAPES", "1") != "0"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(SEED)


def pytest_runtest_setup(item: pytest.Item) -> None:
    plain = (
        not SHAPES
        or item.get_closest_marker("slow") is not None
        or isinstance(item, pytest.DoctestItem)
        or item.path.suffix == ".md"
        or not PLAIN.isdisjoint(item.path.parents)
    )
    jaxtyping.config.update("jaxtyping_disable", plain)
    tests.typechecker.next_test()


@pytest.fixture
def real_machine() -> None:
    """For tests that compare with a process of its own, which rounds as the processor does."""
    if MACHINE:
        pytest.skip("another process does not run on the made-up machine")


@pytest.fixture
def generator() -> torch.Generator:
    return seeded(20260)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data that must not be committed; tests that need it skip without it."""
    folder = os.environ.get("ISINGLASS_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("ISINGLASS_DATA does not name a folder of data sets")
    return Path(folder)
