"""One energy: descend it to remember, differentiate it to attend, sample it to imagine, act on it.

remember   memory = ModernHopfield(patterns, beta=8.0);  memory.recall(cues).state
attend     isinglass.nn.stochastic_attention(query, key, value, draws=16)
imagine    machine = HopfieldBoltzmann(Bernoulli(64), memories=50);  machine.sample(10)
act        isinglass.agents.FreeEnergyQ("MlpPolicy", env).learn(12_000)       extra: rl
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isinglass._api import *  # noqa: F403 - for editors and type checkers; no second list

__version__ = "0.1.0"

if not TYPE_CHECKING:  # to type checkers the names above are all there are

    def __getattr__(name: str) -> Any:
        """Load all names when the first is asked for: ``isinglass --help`` needs no torch."""
        if name == "__all__" or not name.startswith("__"):
            api = import_module("isinglass._api")
            globals().update({public: getattr(api, public) for public in api.__all__})
            globals()["__all__"] = api.__all__
        if name not in globals():  # a room without a name here, isinglass.io, is loaded too
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals()[name]

    def __dir__() -> list[str]:
        """List the names of the package beside what is loaded already."""
        return sorted({*globals(), *__getattr__("__all__")})
