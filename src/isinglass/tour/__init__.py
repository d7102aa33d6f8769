"""The tour: each verb walked once on real data, measured beside its peers, on one page."""

from isinglass.tour.guide import CHAPTERS, take_tour

__all__ = ["CHAPTERS", "take_tour"]
