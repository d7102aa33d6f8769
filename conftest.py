"""Check every annotated shape at every call, and seed torch's global generator per test."""

from pathlib import Path

import tests.typechecker  # noqa: F401
from jaxtyping import install_import_hook

# typer reads the annotations of the command line's functions itself, and scikit-learn wants
# constructors of estimators to take anything.
package = Path(__file__).parent / "src/isinglass"
rooms = {path.stem for path in package.iterdir()} - {"cli", "integrations", "__main__", "__init__"}
rooms |= {f"integrations.{path.stem}" for path in (package / "integrations").glob("[!_]*.py")}
install_import_hook([f"isinglass.{room}" for room in sorted(rooms)], "tests.typechecker.check")

import os

import pytest
import torch

torch.set_num_threads(1)  # two test workers, two cores


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20260)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data that must not be committed; tests that need it skip without it."""
    folder = os.environ.get("ISINGLASS_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("ISINGLASS_DATA does not name a folder of data sets")
    return Path(folder)
