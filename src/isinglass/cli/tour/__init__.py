"""The tour: each verb walked once on real data, measured beside its peers, on one page."""

from isinglass.cli.tour.guide import VERBS, take_tour

__all__ = ["VERBS", "take_tour"]
