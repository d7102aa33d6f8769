"""What speaks to other libraries: Hugging Face, hflayers, scikit-learn.

``sampled_attention`` needs the extra ``hf`` and is loaded when it is asked for, so that the others
do without it; ``isinglass.integrations.sklearn`` needs the extra ``sklearn``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isinglass.integrations.hflayers import hflayers_options, import_hflayers_state

if TYPE_CHECKING:
    from isinglass.integrations.huggingface import sampled_attention

__all__ = ["hflayers_options", "import_hflayers_state", "sampled_attention"]


def __getattr__(name: str) -> Any:
    """Load what needs transformers when it is asked for."""
    if name == "sampled_attention":
        from isinglass.integrations.huggingface import sampled_attention

        return sampled_attention
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
