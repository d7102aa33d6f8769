"""Other libraries' models: Hugging Face, hflayers; scikit-learn in ``isinglass.integrations.sklearn``."""

from isinglass.integrations.hflayers import hflayers_options, import_hflayers_state
from isinglass.integrations.huggingface import sampled_attention

__all__ = ["hflayers_options", "import_hflayers_state", "sampled_attention"]
