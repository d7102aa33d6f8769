"""Policies by what is observed: pictures, and dictionaries of observations."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN

from isinglass.agents.policy import FreeEnergyPolicy

__all__ = ["FreeEnergyCnnPolicy", "FreeEnergyMultiInputPolicy"]


class FreeEnergyCnnPolicy(FreeEnergyPolicy):
    """:class:`FreeEnergyPolicy` for images: the features are those of SB3's ``NatureCNN``.

    Reference: Mnih et al. 2015, "Human-level control through deep reinforcement learning",
    Nature 518:529-533 (the network); Sallans & Hinton 2004, JMLR 5:1063-1088 (Q = −F).

    Examples:
        >>> import numpy as np
        >>> from gymnasium import spaces
        >>> from isinglass.agents import MixtureEnergy
        >>> pictures, actions = spaces.Box(0, 255, (1, 36, 36), np.uint8), spaces.MultiBinary(5)
        >>> policy = FreeEnergyCnnPolicy(pictures, actions, lambda _: 1e-3, energy=MixtureEnergy(4))
        >>> action, _ = policy.predict(np.zeros((1, 36, 36), np.uint8))
        >>> actions.contains(action)
        True
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("features_extractor_class", NatureCNN)
        super().__init__(*args, **kwargs)


class FreeEnergyMultiInputPolicy(FreeEnergyPolicy):
    """:class:`FreeEnergyPolicy` for dictionaries: SB3's ``CombinedExtractor``.

    Bits inside the dictionary are seen as 0 and 1, not as spins.

    Reference: Sallans & Hinton 2004, "Reinforcement learning with factored states and actions",
    JMLR 5:1063-1088 (Q = −F).

    Examples:
        >>> import numpy as np
        >>> from gymnasium import spaces
        >>> from isinglass.agents import MixtureEnergy
        >>> parts = {"bits": spaces.MultiBinary(3), "speed": spaces.Box(-1, 1, (2,))}
        >>> seen, actions = spaces.Dict(parts), spaces.MultiBinary(5)
        >>> energy = MixtureEnergy(4)
        >>> policy = FreeEnergyMultiInputPolicy(seen, actions, lambda _: 1e-3, energy=energy)
        >>> action, _ = policy.predict({"bits": np.ones(3), "speed": np.zeros(2)})
        >>> actions.contains(action)
        True
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("features_extractor_class", CombinedExtractor)
        super().__init__(*args, **kwargs)
