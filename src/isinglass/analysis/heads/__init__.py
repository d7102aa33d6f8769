"""What trained heads do: energies, how many keys they blend, sinks, what fixed weights explain."""

from isinglass.analysis.heads.attention_heads import AttentionHeads
from isinglass.analysis.heads.certified_keys import CertifiedKeys, certify_keys
from isinglass.analysis.heads.fixed_weights import FixedFit, fit_fixed_weights, fixed_features
from isinglass.analysis.heads.head_class import HeadClass, classify_heads
from isinglass.analysis.heads.statistics import HeadStatistics, Settled, head_statistics, settle

__all__ = [
    "AttentionHeads",
    "CertifiedKeys",
    "FixedFit",
    "HeadClass",
    "HeadStatistics",
    "Settled",
    "certify_keys",
    "classify_heads",
    "fit_fixed_weights",
    "fixed_features",
    "head_statistics",
    "settle",
]
