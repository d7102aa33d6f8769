"""The trained nets that are part of the package."""

from __future__ import annotations

from importlib.resources import as_file, files

import safetensors.torch
from torch import Tensor

__all__ = ["weights"]


def weights(name: str) -> dict[str, Tensor]:
    """Returns the tensors of a net that is shipped, trained by ``benchmarks.lab``."""
    with as_file(files("isinglass.cli.lab").joinpath("weights", f"{name}.safetensors")) as path:
        return safetensors.torch.load_file(path)
