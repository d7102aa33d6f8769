"""What speaks to Hugging Face Transformers: heads that are drawn, looked into, and replaced."""

from isinglass.integrations.huggingface.head_plan import FixedHeads, HeadPlan
from isinglass.integrations.huggingface.head_planner import plan_heads, rank_heads
from isinglass.integrations.huggingface.head_tuner import tune_heads
from isinglass.integrations.huggingface.inspection import Inspection, QueryView, inspect
from isinglass.integrations.huggingface.replaced_heads import replace_heads
from isinglass.integrations.huggingface.sampled_attention import sampled_attention

__all__ = [
    "FixedHeads",
    "HeadPlan",
    "Inspection",
    "QueryView",
    "inspect",
    "plan_heads",
    "rank_heads",
    "replace_heads",
    "sampled_attention",
    "tune_heads",
]
