"""What speaks to Hugging Face Transformers: heads that are drawn, heads that are looked into."""

from isinglass.integrations.huggingface.inspection import Inspection, QueryView, inspect
from isinglass.integrations.huggingface.sampled_attention import sampled_attention

__all__ = ["Inspection", "QueryView", "inspect", "sampled_attention"]
