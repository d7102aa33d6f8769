"""Memory and time of pooling by the size of the bag, measured in a process that does only that.

glibc is asked to give tensors of 64 KiB and more pages of their own: by default small tensors that
live on lie between large ones that do not, and the pages of these are not given back.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Generator

from benchmarks.evidence.repertoires_data import LONGEST, NOTHING
from benchmarks.evidence.repertoires_model import BLOCK, RepertoireNetwork

__all__ = ["MODES", "SIZES", "cost"]

SIZES = (1_000, 10_000, 100_000, 300_000)
MODES = ("in blocks", "in blocks, with gradients", "whole", "whole, with gradients")


def cost(mode: str, size: int) -> dict[str, float]:
    """Returns MiB of the bag, MiB at most beyond it and beyond the network, and seconds a pass.

    Args:
        mode: Whether in blocks or as a whole, and whether gradients are made too.
        size: Sequences in the bag.
    """
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "benchmarks.evidence.repertoires_cost", mode, str(size)],
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}, check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    return json.loads(done.stdout)


def _measured(mode: str, size: int) -> dict[str, float]:
    torch.set_num_threads(1)
    network = RepertoireNetwork().eval()
    generator = Generator().manual_seed(0)
    codes = torch.randint(NOTHING, (size, LONGEST), generator=generator, dtype=torch.uint8)
    _pass(network, codes[:100], mode)  # code and tables that torch loads at first use
    begin, seconds = _mebibytes("VmRSS"), []
    for _ in range(3):
        start = time.process_time()
        _pass(network, codes, mode)
        seconds.append(time.process_time() - start)
    return {
        "input": codes.nbytes / 2**20, "memory": _mebibytes("VmHWM") - begin,
        "seconds": min(seconds),
    }  # fmt: skip


def _pass(network: RepertoireNetwork, codes: torch.Tensor, mode: str) -> None:
    with torch.set_grad_enabled("gradients" in mode):
        if "blocks" in mode:
            pooled = network.pool.stream(codes.split(BLOCK), embed=network.encode)
        else:
            pooled = network.pool(network.encode(codes))
        if "gradients" in mode:
            network.read(pooled).sum().backward()


def _mebibytes(name: str) -> float:
    """A line of what Linux tells of this process: VmHWM is the most it ever held."""
    (kibibytes,) = re.findall(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(kibibytes) / 2**10


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], int(sys.argv[2]))))
