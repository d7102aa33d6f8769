"""Sources of randomness for tests: one environment variable shifts the seeds of all of them.

A statistical test allows five standard deviations, so it passes whatever the seed;
``ISINGLASS_TEST_SEED=n`` runs the nth set of seeds to show it. A seed that stays a plain number
makes a problem rather than noise, such as the weights of a policy that is sampled, or its outcome
is itself the claim; where it stands it is said why.
"""

import os

import numpy as np
import torch

#: Far enough apart that two sets never share a seed.
SHIFT = 100_000 * int(os.environ.get("ISINGLASS_TEST_SEED", "0"))


def shifted(seed: int) -> int:
    """The seed that stands for this one in the set that is run."""
    return seed + SHIFT


#: The plainest seed of this set.
SEED = shifted(0)


def seeded(seed: int = 0, device: str = "cpu") -> torch.Generator:
    """A generator of torch that starts at the shifted seed."""
    return torch.Generator(device).manual_seed(shifted(seed))


def numpy_seeded(seed: int) -> np.random.Generator:
    """A generator of numpy that starts at the shifted seed."""
    return np.random.default_rng(shifted(seed))
