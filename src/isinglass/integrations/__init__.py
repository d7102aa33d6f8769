"""What speaks to other libraries: Hugging Face, hflayers, scikit-learn.

``inspect``, ``sampled_attention``, ``replace_heads`` and what goes with them need the extra ``hf``
and are loaded when they are asked for, so that the others do without it;
``isinglass.integrations.sklearn`` needs the extra ``sklearn``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isinglass.integrations.hflayers import hflayers_options, import_hflayers_state

if TYPE_CHECKING:
    from isinglass.integrations.huggingface import (
        HeadPlan,
        Inspection,
        inspect,
        plan_heads,
        rank_heads,
        replace_heads,
        sampled_attention,
        tune_heads,
    )

__all__ = [
    "HeadPlan",
    "Inspection",
    "hflayers_options",
    "import_hflayers_state",
    "inspect",
    "plan_heads",
    "rank_heads",
    "replace_heads",
    "sampled_attention",
    "tune_heads",
]


def __getattr__(name: str) -> Any:
    """Load what needs transformers when it is asked for."""
    if name in __all__:
        from isinglass.integrations import huggingface

        return getattr(huggingface, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
