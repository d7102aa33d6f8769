"""The tour: each verb walked once on real data, measured beside its peers, on one page."""
